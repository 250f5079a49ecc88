"""When an interface counts as given back, and which of its routes wait for another interface."""

from dataclasses import replace

import pytest

from supervisor.core.attach.actions import Action, GiveBack, WriteRecord
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.attach.withdrawal import give_back_action
from supervisor.core.links import Address, Hop, Interface, Neighbour, Route
from supervisor.core.record import Record, TapRecord
from tests.unit.examples import ETH0, ETH1, ID, INCARNATION, NAME

ACROSS = Route(4, "10.1.0.0", 16, hops=(Hop(ETH0.index, "172.17.0.9", 1), Hop(ETH1.index, "172.18.0.9", 1)), raw=b"1")
FROM_ETH1 = Route(4, "10.2.0.0", 16, source="172.18.0.5", raw=b"2")
OWN = Route(4, "10.3.0.0", 16, "172.17.0.9", hops=(Hop(ETH0.index, "172.17.0.9", 1), Hop(ETH0.index, "172.17.0.8", 1)))


def with_routes(interface: Interface, *routes: Route) -> Interface:
    return replace(interface, routes=routes)


def action(*originals: Interface, seen: tuple[Interface, ...]) -> Action:
    """Return the action that gives the first one back."""
    taps = tuple(TapRecord(n, each.name, f"vtap{n}", None, each) for n, each in enumerate(originals))
    record = Record(ID, NAME, INCARNATION, taps)
    return give_back_action(Seen(INCARNATION, interfaces=tuple(map(SeenInterface, seen))), record, taps[0])


@pytest.mark.parametrize("route", [ACROSS, FROM_ETH1])
def test_route_waits_for_an_interface_that_is_taken_over(route: Route) -> None:
    eth0, eth1 = with_routes(ETH0, OWN, route), with_routes(ETH1, route)
    bare0, bare1 = (replace(each, mac="5e:00:00:00:00:09", addresses=(), routes=()) for each in (eth0, eth1))
    asked = action(eth0, eth1, seen=(bare0, bare1))
    assert isinstance(asked, GiveBack)
    assert asked.later == (route,)
    assert isinstance(action(eth0, eth1, seen=(with_routes(eth0, OWN), bare1)), WriteRecord)
    assert isinstance(action(eth1, seen=(bare1, eth0)), GiveBack)
    assert isinstance(action(eth1, seen=(with_routes(eth1), with_routes(eth0, OWN))), GiveBack), (
        "the last of the two does not restore the route"
    )
    assert isinstance(action(eth1, seen=(eth1, eth0)), WriteRecord)


def test_route_through_an_interface_that_is_gone_is_not_awaited() -> None:
    assert isinstance(action(with_routes(ETH0, ACROSS), seen=(with_routes(ETH0),)), WriteRecord)


def test_neighbours_are_awaited() -> None:
    known = replace(ETH0, neighbours=(Neighbour(4, "172.17.0.9", "02:00:00:00:00:09", 0x80),))
    assert isinstance(action(known, seen=(ETH0,)), GiveBack)
    assert isinstance(action(known, seen=(known,)), WriteRecord)


@pytest.mark.parametrize("raw", [b"", b"1"])
def test_earlier_version_recorded_less(raw: bytes) -> None:
    address, route = Address(4, "10.0.0.1", 32, raw=raw), Route(4, "10.1.0.0", 16, raw=raw)
    recorded = replace(ETH0, addresses=(address,), routes=(route,))
    now = replace(ETH0, addresses=(replace(address, peer="10.0.0.2"),), routes=(replace(route, tos=8),))
    assert isinstance(action(recorded, seen=(now,)), GiveBack if raw else WriteRecord)
