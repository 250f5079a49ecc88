"""A lost record, rebuilt from the kernel and from Docker, at every moment of a takeover and of its undo."""

from dataclasses import replace

import pytest

from supervisor.core.attach.actions import DenyDevice
from supervisor.core.attach.plan import next_step
from supervisor.core.attach.rebuild import rebuild
from supervisor.core.attach.state import Desired, Seen, SeenInterface
from supervisor.core.container import Endpoint
from supervisor.core.links import DeviceNumber, IfIndex, Tap
from supervisor.core.record import TapRecord

from .examples import ETH0, ETH1, ID, INCARNATION, NAME, TAP0, container
from .simulated_host import SimulatedHost

SERVED = Desired(attached=True, takeover=True, guest=True, cards=2, link_address="169.254.118.1")
OWN_MAC = Desired(attached=True, mac=ETH0.mac, guest=True)
ATTACHED = Desired(attached=True)
NOTHING = Desired(attached=False)

OTHER = DeviceNumber(246, 2)

DOCKERS = container(
    endpoints=(
        Endpoint("bridge", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"),)),
        Endpoint("other", ETH1.mac, (("172.18.0.5", 24, ""),)),
    )
)


def recovered(host: SimulatedHost) -> None:
    """Lose the record, and rebuild it as the next daemon does."""
    host.record = None
    host.record = rebuild(DOCKERS, INCARNATION, host.seen())


@pytest.mark.parametrize("goal", [ATTACHED, NOTHING])
def test_record_lost_after_any_change_is_rebuilt(goal: Desired) -> None:
    """After that, the plan reaches the desired state, and can restore what Docker made."""
    changes = 0
    while True:
        host = SimulatedHost({"eth0": ETH0, "eth1": ETH1})
        steps = host.advance(SERVED)
        taken = sum(1 for _ in zip(range(changes), steps, strict=False))
        if taken < changes:
            break
        host.guest = None  # a guest without a record is found by its name; this test checks the network
        recovered(host)
        host.converge(goal)
        assert {name: each.mac for name, each in host.interfaces.items()} == {"eth0": ETH0.mac, "eth1": ETH1.mac}
        assert host.interfaces["eth0"].addresses == ETH0.addresses
        assert set(ETH0.routes) <= set(host.interfaces["eth0"].routes)
        assert (host.loopback, host.clsact, host.filters, host.guards) == ({"127.0.0.1"}, set(), {}, {})
        assert [each.guests for each in host.interfaces.values()] == [(), ()]
        if goal is NOTHING:
            assert (host.taps, host.netns_link, host.record) == ({}, None, None)
            assert len(host.rules) == len(host.nodes) == 1, "only the foreign rule and node are left"
        changes += 1
    assert changes > 15


@pytest.mark.parametrize("desired", [SERVED, OWN_MAC])
def test_rebuilt_record_has_what_the_guest_was_given(desired: Desired) -> None:
    host = SimulatedHost({"eth0": ETH0})
    host.converge(desired)
    before = host.record
    recovered(host)
    assert host.record == before
    assert host.next(desired) is None


@pytest.mark.parametrize(("up", "claimed"), [(False, False), (True, True)])
def test_tap_of_unknown_history_has_no_device_number(up: bool, claimed: bool) -> None:
    """It was never brought up, or another container has its number on record."""
    interfaces = (SeenInterface(ETH0, replace(TAP0, up=up)),)
    record = rebuild(
        DOCKERS, INCARNATION, Seen(INCARNATION, None, interfaces, claimed=frozenset({TAP0.device} if claimed else ()))
    )
    assert record is not None
    assert [(entry.tap, entry.device) for entry in record.taps] == [(TAP0.name, None)]


def test_tap_whose_interface_is_gone_is_undone() -> None:
    """Its slot may be one that another interface's entry has."""
    eth0, left = SeenInterface(ETH0, TAP0), replace(TAP0, name="vtap120005", index=IfIndex(3), device=OTHER)
    seen = Seen(INCARNATION, None, (eth0,), frozenset({OTHER, TAP0.device}), strays=((0, left),))
    record = rebuild(DOCKERS, INCARNATION, seen)
    assert record is not None
    assert record.taps[1] == TapRecord(1, left.name, left.name, OTHER, index=left.index)
    taken = next_step(ID, NAME, ATTACHED, replace(seen, netns_link=INCARNATION.pid), record)
    assert taken is not None
    assert taken.action == DenyDevice(OTHER)


def test_unchanged_container_gives_no_record() -> None:
    assert rebuild(DOCKERS, INCARNATION, Seen(INCARNATION, None, (SeenInterface(ETH0), SeenInterface(ETH1)))) is None


def test_symlink_alone_gives_a_record() -> None:
    record = rebuild(DOCKERS, INCARNATION, Seen(INCARNATION, INCARNATION.pid))
    assert record is not None
    assert (record.id, record.name, record.taps) == (ID, NAME, ())


def test_tap_without_a_matching_endpoint_changes_no_interface() -> None:
    stranger = replace(ETH0, mac="02:00:00:00:00:01", addresses=())
    seen = Seen(
        INCARNATION, None, (SeenInterface(stranger, Tap("vtapffffff", IfIndex(3), "", 1500, True, TAP0.device)),)
    )
    record = rebuild(DOCKERS, INCARNATION, seen)
    assert record is not None
    assert record.taps[0].original is None


def test_ipv6_is_restored_with_its_default_route() -> None:
    both = Endpoint("six", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"), ("fd00::2", 64, "fd00::1")))
    taken = replace(ETH0, mac="0a:00:00:00:00:09", addresses=(), routes=())
    seen = Seen(INCARNATION, None, (SeenInterface(taken, replace(TAP0, mac=ETH0.mac)),))
    record = rebuild(container(endpoints=(both,)), INCARNATION, seen)
    assert record is not None
    original = record.taps[0].original
    assert original is not None
    assert [str(address) for address in original.addresses] == ["172.17.0.2/16", "fd00::2/64"]
    assert [(route.family, route.gateway, route.metric) for route in original.routes] == [
        (4, "172.17.0.1", None),
        (6, "fd00::1", 1024),
    ]


def test_network_without_a_gateway_gives_no_route() -> None:
    internal = Endpoint("internal", ETH0.mac, (("172.17.0.2", 16, ""),))
    taken = replace(ETH0, mac="0a:00:00:00:00:09", addresses=(), routes=())
    seen = Seen(INCARNATION, None, (SeenInterface(taken, replace(TAP0, mac=ETH0.mac)),))
    record = rebuild(container(endpoints=(internal,)), INCARNATION, seen)
    assert record is not None
    assert record.taps[0].original is not None
    assert record.taps[0].original.routes == ()
