"""One interface on which a step fails: the other one, the guest and the undo go on as if it had not failed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.attach import actions
from supervisor.core.attach.actions import Action, Attempt
from supervisor.core.attach.plan import is_attached
from supervisor.core.attach.state import Desired

from .examples import ETH1
from .invariants import check, check_reached, is_same, is_taken_over
from .simulated_host import SimulatedHost
from .test_plan_everywhere import (
    BACKOFF,
    DOCKER,
    GOALS,
    HOTPLUG,
    NOTHING,
    OWN_ADDRESS,
    SERVED,
    TAP,
    WAYS,
    arrive,
    interrupted_hosts,
    reached,
)

ATTACHING: tuple[type[Action], ...] = (actions.CreateTap, actions.RaiseTap, actions.AllowDevice, actions.MakeNode)
FAULTS = [
    *((kind, 0) for kind in ATTACHING),
    *((actions.TakeOver, changes) for changes in (0, 1, 4, 6)),
    *((actions.GiveBack, changes) for changes in (0, 1, 5, 8)),
    *((kind, changes) for kind in (actions.OpenPrivateLink, actions.ClosePrivateLink) for changes in (0, 1)),
    *((kind, 0) for kind in (actions.RemoveNode, actions.DenyDevice, actions.DeleteTap, actions.PlugNic)),
]
NAMES = pytest.mark.parametrize("name", ["eth0", "eth1"])


def advance(host: SimulatedHost, desired: Desired) -> None:
    """Go as far as the faults permit, and check that the rest is as it should be."""
    for _ in host.advance(desired):
        check(host)
    assert host.next(desired) is None
    (failing,) = {attempt.interface for attempt in host.faults}
    assert failing is not None
    check_other(host, desired, "eth1" if failing == "eth0" else "eth0", failing)


def check_other(host: SimulatedHost, desired: Desired, other: str, failing: str) -> None:
    """Assert that the interface without a fault, and the guest, are as desired."""
    nics = {nic.original.name for nic in host.guest.nics.values()} if host.guest else set()
    if not desired.attached:
        assert host.guest is None
        assert other not in host.taps, "the other interface is not undone"
        assert is_same(host, host.interfaces[other], host.docker[other])
        return
    assert host.netns_link is not None
    assert host.record is not None
    tap, entry = host.taps[other], host.record.tap_of(other)
    assert entry is not None
    assert tap.up
    assert tap.device in host.rules
    assert host.nodes[entry.slot] == tap.device
    assert (host.guest is not None) == desired.guest, "the guest does not run"
    assert host.guest is None or other in nics or desired.hotplug is False
    assert host.ready == desired.ready
    if desired.takeover and (host.guest is None or other in nics):
        assert is_taken_over(host, host.docker[other])
    is_left = any(_is_faulty(host, kind, failing) for kind in (actions.GiveBack, actions.ClosePrivateLink))
    if host.guest is not None and failing not in nics and not is_left:
        assert is_same(host, host.interfaces[failing], host.docker[failing]), "the container lost its network"


def _is_faulty(host: SimulatedHost, kind: type[Action], name: str) -> bool:
    return Attempt(kind, name) in host.faults


def faults_of(kind: type[Action], changes: int, name: str) -> dict[Attempt, int]:
    return {Attempt(kind, name): changes}


@pytest.mark.exhaustive
@WAYS
@NAMES
@pytest.mark.parametrize(("kind", "changes"), FAULTS)
def test_fault_of_one_interface_costs_that_interface_only(
    start: Desired, goal: Desired, name: str, kind: type[Action], changes: int
) -> None:
    host = reached(start)
    host.faults = faults_of(kind, changes, name)
    advance(host, goal)
    host.faults.clear()
    arrive(host, replace(goal, guest=False, ready=False))
    arrive(host, goal)
    arrive(host, NOTHING)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("start", "goal"), [(NOTHING, SERVED), (SERVED, NOTHING), (SERVED, TAP), (TAP, OWN_ADDRESS)])
@NAMES
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, 0) for kind in ATTACHING),
        (actions.TakeOver, 0),
        (actions.TakeOver, 2),
        (actions.GiveBack, 0),
        (actions.GiveBack, 3),
        (actions.RemoveNode, 0),
        (actions.DenyDevice, 0),
        (actions.DeleteTap, 0),
    ],
)
def test_fault_after_any_change_costs_that_interface_only(
    start: Desired, goal: Desired, name: str, kind: type[Action], changes: int
) -> None:
    for host in interrupted_hosts(start, goal):
        host.faults = faults_of(kind, changes, name)
        advance(host, goal)
        advance(host, NOTHING)
        host.faults.clear()
        arrive(host, NOTHING)


@given(
    st.sampled_from(GOALS),
    st.sampled_from(GOALS),
    st.dictionaries(st.sampled_from([Attempt(kind, "eth1") for kind, _ in FAULTS]), st.integers(0, 9), min_size=1),
)
def test_any_faults_of_one_interface_cost_that_interface_only(
    start: Desired, goal: Desired, faults: dict[Attempt, int]
) -> None:
    host = SimulatedHost(dict(DOCKER))
    arrive(host, start)
    host.faults = faults
    advance(host, goal)
    advance(host, NOTHING)
    host.faults = {}
    arrive(host, NOTHING)


@pytest.mark.parametrize("desired", [SERVED, HOTPLUG, OWN_ADDRESS])
@pytest.mark.parametrize("kind", [*ATTACHING, actions.TakeOver, actions.PlugNic])
def test_running_guest_is_not_stopped_for_a_network_that_cannot_be_attached(
    desired: Desired, kind: type[Action]
) -> None:
    host = SimulatedHost({"eth0": DOCKER["eth0"]})
    arrive(host, desired)
    host.docker["eth1"] = host.interfaces["eth1"] = ETH1
    host.faults = {Attempt(kind, "eth1"): 0}
    taken = host.converge(desired)
    assert not {type(action) for action in taken} & {actions.StopGuest, actions.UnplugNic}
    check_other(host, desired, "eth0", "eth1")
    host.guest = None
    advance(host, desired)
    host.faults.clear()
    arrive(host, replace(desired, guest=False))
    arrive(host, desired)


@pytest.mark.parametrize("changes", [0, 1])
@NAMES
def test_guest_has_its_card_without_its_private_link(name: str, changes: int) -> None:
    host = SimulatedHost(dict(DOCKER))
    host.faults = {Attempt(actions.OpenPrivateLink, name): changes}
    host.converge(SERVED)
    assert host.guest is not None
    assert len(host.guest.nics) == 2
    assert all(is_taken_over(host, each) for each in DOCKER.values())
    assert is_attached(host.seen(), host.record, host.resting)
    host.faults.clear()
    arrive(host, SERVED)


def test_container_of_which_nothing_can_be_attached_is_left_as_it_was() -> None:
    host = SimulatedHost(dict(DOCKER))
    host.faults = {Attempt(actions.TakeOver, name): 3 for name in DOCKER}
    host.converge(SERVED)
    assert host.guest is None
    assert all(is_same(host, host.interfaces[name], each) for name, each in DOCKER.items())


@pytest.mark.parametrize("kind", [actions.LinkNetns, actions.MarkReady])
def test_step_for_the_container_as_a_whole_holds_nothing_up(kind: type[Action]) -> None:
    desired = replace(SERVED, ready=True)
    host = SimulatedHost(dict(DOCKER))
    host.faults = {Attempt(kind): 0}
    host.converge(desired)
    assert host.guest is not None
    assert len(host.guest.nics) == 2
    host.faults.clear()
    arrive(host, desired)


def test_symlink_that_cannot_be_removed_keeps_the_record() -> None:
    host = SimulatedHost(dict(DOCKER))
    arrive(host, SERVED)
    host.faults = {Attempt(actions.UnlinkNetns): 0}
    host.converge(NOTHING)
    assert not host.taps
    assert host.record is not None
    host.faults.clear()
    arrive(host, NOTHING)


class TestAttached:
    @pytest.mark.parametrize(
        ("kind", "failing", "expected"),
        [
            (actions.CreateTap, ("eth1",), True),
            (actions.MakeNode, ("eth0",), True),
            (actions.MakeNode, ("eth0", "eth1"), False),
            (actions.LinkNetns, (None,), False),
        ],
    )
    def test_container_with_one_interface_in_order_is_attached(
        self, kind: type[Action], failing: tuple[str | None, ...], expected: bool
    ) -> None:
        host = SimulatedHost(dict(DOCKER))
        host.faults = {Attempt(kind, name): 0 for name in failing}
        host.converge(TAP)
        assert is_attached(host.seen(), host.record, host.resting) == expected
        assert not is_attached(host.seen(), host.record)

    def test_backoff_with_a_failed_takeover_keeps_the_containers_network(self) -> None:
        host = SimulatedHost(dict(DOCKER))
        host.faults = {Attempt(actions.TakeOver, "eth1"): 1}
        host.converge(BACKOFF)
        assert host.interfaces["eth1"] == ETH1
        host.faults.clear()
        host.resting = frozenset()
        host.converge(BACKOFF)
        check_reached(host, BACKOFF)


def test_interface_that_is_not_wanted_any_more_is_not_attached_while_its_undo_fails() -> None:
    host = SimulatedHost(dict(DOCKER))
    arrive(host, TAP)
    host.unwanted.add("eth1")
    host.faults = {Attempt(actions.RemoveNode, "eth1"): 0}
    assert {type(action) for action in host.converge(TAP)} == {actions.DenyDevice}
    host.converge(SERVED)
    assert host.guest is not None
    assert [nic.original.name for nic in host.guest.nics.values()] == ["eth0"]
