"""Plans interrupted at any change, while others interfere, reach the desired state and undo everything exactly.

Between two changes the daemon forgets everything but the record and what it observes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.attach.state import Desired
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.kinds.kind import MANY_CARDS as MANY
from supervisor.core.links import Address, IfIndex, Interface, Route

from .disturbances import DISTURBANCES, advertise, end_container, end_lifetimes, restart_container
from .examples import ETH0, ETH1
from .invariants import check, check_reached
from .simulated_host import SimulatedHost

NOTHING = Desired(False)
TAP = Desired(True)
BACKOFF = Desired(True, takeover=True, cards=MANY)
SERVED = Desired(True, takeover=True, cards=MANY, guest=True, link_address="169.254.118.1")
HOTPLUG = Desired(True, takeover=True, cards=MANY, guest=True, hotplug=True)
OTHER_LINK = replace(SERVED, link_address="169.254.118.2")
OWN_ADDRESS = Desired(True, guest=True, cards=MANY)
OWN_MAC = Desired(True, guest=True, cards=MANY, mac=ETH0.mac)
READY = replace(SERVED, ready=True)
DONE = replace(TAP, exit_status=7)
WAKERS = Wakers(("172.17.0.2",), keeps_state=False)
ASLEEP = replace(READY, guest=False, wakers=WAKERS)
WOKEN = replace(READY, wakers=WAKERS)
GOALS = (
    *(NOTHING, TAP, BACKOFF, SERVED, OTHER_LINK, HOTPLUG, OWN_ADDRESS, OWN_MAC, READY, DONE),
    ASLEEP,
)

RICH = replace(
    ETH0,
    addresses=(
        Address(4, "172.17.0.2", 16, "172.17.255.255"),
        Address(4, "172.17.9.9", 32),
        Address(6, "2001:db8::2", 64),
        Address(6, "fe80::42:acff:fe11:2", 64, scope=253),
        Address(6, "2001:db8:5::9", 64, valid_until_s=1300.5),
    ),
    routes=(
        Route(4, "", 0, "172.17.0.1"),
        Route(4, "10.0.0.0", 8, "172.17.0.3", source="172.17.9.9", metric=5),
        Route(4, "192.168.7.0", 24, scope=253),
        Route(6, "", 0, "2001:db8::1"),
        Route(6, "2001:db8:6::", 48, "2001:db8::1", valid_until_s=1200.5),
    ),
)
DOCKER = {"eth0": RICH, "eth1": ETH1}


@dataclass(frozen=True)
class Work:
    """The daemon works towards a goal and is killed after this number of changes."""

    desired: Desired
    changes: int


def work(host: SimulatedHost, step: Work) -> None:
    for _ in islice(host.advance(step.desired), step.changes):
        check(host)


def arrive(host: SimulatedHost, desired: Desired) -> None:
    for _ in host.advance(desired):
        check(host)
    check_reached(host, desired)


def reached(start: Desired) -> SimulatedHost:
    return _reached(start).copy()


@cache
def _reached(start: Desired) -> SimulatedHost:
    host = SimulatedHost(dict(DOCKER))
    arrive(host, start)
    return host


def interrupted_hosts(start: Desired, goal: Desired) -> Iterator[SimulatedHost]:
    """Yield hosts that reached `start`, and whose daemon was killed after 0, 1, 2 … changes on its way to `goal`."""
    return (host.copy() for host in _interrupted_hosts(start, goal))


@cache
def _interrupted_hosts(start: Desired, goal: Desired) -> list[SimulatedHost]:
    host = reached(start)
    return [host.copy(), *(host.copy() for _ in host.advance(goal))]


WAYS = pytest.mark.parametrize(
    ("start", "goal"),
    [
        (NOTHING, SERVED),
        (SERVED, OTHER_LINK),
        (SERVED, NOTHING),
        (SERVED, TAP),
        (SERVED, BACKOFF),
        (TAP, SERVED),
        (NOTHING, OWN_ADDRESS),
        (OWN_ADDRESS, NOTHING),
        (NOTHING, READY),
        (READY, BACKOFF),
        (READY, NOTHING),
        (READY, DONE),
        (DONE, READY),
        (DONE, NOTHING),
        (READY, ASLEEP),
        (ASLEEP, WOKEN),
        (ASLEEP, NOTHING),
    ],
)


@pytest.mark.exhaustive
@WAYS
@pytest.mark.parametrize("then", GOALS)
def test_next_daemon_reaches_any_goal_and_undoes_all_after_a_kill(start: Desired, goal: Desired, then: Desired) -> None:
    for host in interrupted_hosts(start, goal):
        check(host)
        arrive(host, then)
        arrive(host, NOTHING)


def test_guest_may_be_woken_after_any_change_by_which_it_falls_asleep() -> None:
    for host in interrupted_hosts(READY, ASLEEP):
        arrive(host, WOKEN)
        assert host.guest is not None
        arrive(host, NOTHING)


@WAYS
def test_container_may_end_after_any_change(start: Desired, goal: Desired) -> None:
    for host in interrupted_hosts(start, goal):
        end_container(host)
        arrive(host, goal)
        assert host.record is None


@WAYS
def test_container_may_restart_after_any_change(start: Desired, goal: Desired) -> None:
    for host in interrupted_hosts(start, goal):
        restart_container(host)
        arrive(host, SERVED)
        arrive(host, NOTHING)


@WAYS
def test_lifetimes_may_end_after_any_change(start: Desired, goal: Desired) -> None:
    for host in interrupted_hosts(start, goal):
        end_lifetimes(host)
        arrive(host, goal)
        arrive(host, NOTHING)


@WAYS
def test_router_may_advertise_after_any_change(start: Desired, goal: Desired) -> None:
    for host in interrupted_hosts(start, goal):
        advertise(host)
        arrive(host, goal)
        advertise(host)
        assert host.next(goal) is None, "an advertisement causes an action"
        arrive(host, NOTHING)


ADDRESSES = st.lists(
    st.builds(lambda n: Address(4, f"172.17.0.{n}", 16), st.integers(2, 250))
    | st.builds(lambda n: Address(6, f"2001:db8::{n}", 64), st.integers(2, 250))
    | st.builds(lambda n: Address(6, f"2001:db8:5::{n}", 64, valid_until_s=1300.5), st.integers(2, 250)),
    min_size=1,
    max_size=3,
    unique=True,
)


@st.composite
def interfaces(draw: st.DrawFn) -> dict[str, Interface]:
    made = {}
    for number in range(draw(st.integers(1, 3))):
        addresses = tuple(draw(ADDRESSES))
        ipv4 = [address for address in addresses if address.family == 4]
        default = Route(4, "", 0, "172.17.0.1")
        routes = (default, *(Route(4, "10.0.0.0", 8, "172.17.0.1", source=each.ip) for each in ipv4[:1]))
        mac = f"02:42:ac:11:0{number}:0{number}"
        made[f"eth{number}"] = Interface(
            f"eth{number}", IfIndex(7 + number), mac, 1500, addresses, routes if ipv4 else ()
        )
    return made


CHANGES = st.integers(0, 3) | st.integers(0, 60)
EVENTS = st.builds(Work, st.sampled_from(GOALS), CHANGES) | st.sampled_from(sorted(DISTURBANCES))


@given(interfaces(), st.lists(EVENTS, max_size=8), st.sampled_from(GOALS))
def test_plan_reaches_the_goal_and_undoes_all_after_any_events(
    docker: dict[str, Interface], events: list[Work | str], goal: Desired
) -> None:
    host = SimulatedHost(docker)
    for event in events:
        if isinstance(event, Work):
            work(host, event)
        else:
            DISTURBANCES[event](host)
            check(host)
    arrive(host, goal)
    assert host.next(goal) is None
    arrive(host, NOTHING)
