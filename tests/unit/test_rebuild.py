"""A lost record, rebuilt from the kernel and from Docker, at every moment of a takeover and of its undo."""

from dataclasses import replace

import pytest

from supervisor.core.attach.plan import Desired, Seen, SeenInterface
from supervisor.core.attach.rebuild import rebuild
from supervisor.core.model import Endpoint, IfIndex, Tap

from .things import ETH0, ETH1, ID, INCARNATION, NAME, TAP0, container
from .world import World

SERVED = Desired(attached=True, takeover=True, guest=True)
ATTACHED = Desired(attached=True)
NOTHING = Desired(attached=False)

DOCKERS = container(
    endpoints=(
        Endpoint("bridge", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"),)),
        Endpoint("other", ETH1.mac, (("172.18.0.5", 24, ""),)),
    )
)


def recovered(there: World) -> None:
    """The record goes, and is rebuilt as the next daemon does."""
    there.record = None
    there.record = rebuild(DOCKERS, INCARNATION, there.seen())


@pytest.mark.parametrize("goal", [ATTACHED, NOTHING])
def test_the_record_is_lost_after_any_single_change_on_the_way_to_a_guest(goal: Desired) -> None:
    """From there both ways lead where they should: to what is desired, and back to what Docker made."""
    changes = 0
    while True:
        there = World({"eth0": ETH0, "eth1": ETH1})
        steps = there.advance(SERVED)
        taken = sum(1 for _ in zip(range(changes), steps, strict=False))
        if taken < changes:
            break
        there.guest = None  # without a record it is found by its name; here it is the network that matters
        recovered(there)
        there.converge(goal)
        assert {name: each.mac for name, each in there.interfaces.items()} == {"eth0": ETH0.mac, "eth1": ETH1.mac}
        assert there.interfaces["eth0"].addresses == ETH0.addresses
        assert set(ETH0.routes) <= set(there.interfaces["eth0"].routes)
        if goal is NOTHING:
            assert (there.taps, there.netns_link, there.record) == ({}, None, None)
            assert len(there.rules) == len(there.nodes) == 1, "the foreign ones"
        changes += 1
    assert changes > 15


def test_the_guests_address_is_known_again() -> None:
    there = World({"eth0": ETH0})
    there.converge(SERVED)
    before = there.record
    recovered(there)
    assert there.record == before
    assert there.next(SERVED) is None


@pytest.mark.parametrize(("up", "claimed"), [(False, False), (True, True)])
def test_a_tap_of_unknown_history_has_no_number(up: bool, claimed: bool) -> None:
    """It was never brought up, or another container has its number on record."""
    interfaces = (SeenInterface(ETH0, replace(TAP0, up=up)),)
    record = rebuild(
        DOCKERS, INCARNATION, Seen(INCARNATION, None, interfaces, claimed=frozenset({TAP0.device} if claimed else ()))
    )
    assert record is not None
    assert [(entry.tap, entry.device) for entry in record.taps] == [(TAP0.name, None)]


def test_where_nothing_was_done_nothing_is_on_record() -> None:
    assert rebuild(DOCKERS, INCARNATION, Seen(INCARNATION, None, (SeenInterface(ETH0), SeenInterface(ETH1)))) is None


def test_the_symlink_alone_is_enough_to_be_undone() -> None:
    record = rebuild(DOCKERS, INCARNATION, Seen(INCARNATION, INCARNATION.pid))
    assert record is not None
    assert (record.id, record.name, record.taps) == (ID, NAME, ())


def test_a_tap_that_matches_no_endpoint_leaves_its_interface_alone() -> None:
    stranger = replace(ETH0, mac="02:00:00:00:00:01", addresses=())
    seen = Seen(
        INCARNATION, None, (SeenInterface(stranger, Tap("vtapffffff", IfIndex(3), "", 1500, True, TAP0.device)),)
    )
    record = rebuild(DOCKERS, INCARNATION, seen)
    assert record is not None
    assert record.taps[0].original is None


def test_ipv6_comes_back_with_its_default_route() -> None:
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


def test_a_network_without_a_gateway_gives_no_route() -> None:
    internal = Endpoint("internal", ETH0.mac, (("172.17.0.2", 16, ""),))
    taken = replace(ETH0, mac="0a:00:00:00:00:09", addresses=(), routes=())
    seen = Seen(INCARNATION, None, (SeenInterface(taken, replace(TAP0, mac=ETH0.mac)),))
    record = rebuild(container(endpoints=(internal,)), INCARNATION, seen)
    assert record is not None
    assert record.taps[0].original is not None
    assert record.taps[0].original.routes == ()
