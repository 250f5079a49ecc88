"""The default gateway while a guest has the container's addresses: what Docker sets, and what it would have set."""

from dataclasses import replace

import pytest

from supervisor.core.attach import actions
from supervisor.core.attach.gateways import (
    gateway_endpoints,
    gateways_to_reach,
    has_only_routes_to,
    is_dockers_default,
    route_to,
    with_current_gateways,
)
from supervisor.core.attach.state import Desired, Seen, SeenInterface
from supervisor.core.container import Endpoint
from supervisor.core.links import Hop, IfIndex, Interface, Route
from supervisor.core.record import Record, TapRecord
from tests.unit.examples import ETH0, ETH1, ID, INCARNATION, NAME
from tests.unit.simulated_host import SimulatedHost

MAC2 = "02:42:ac:13:00:07"
FIRST = Endpoint("aaa", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"),))
SECOND = Endpoint("bbb", ETH1.mac, (("172.18.0.5", 24, "172.18.0.1"), ("fd00::5", 64, "fd00::1")))
THIRD = Endpoint("ccc", MAC2, (("172.19.0.7", 24, "172.19.0.1"),))
INTERNAL = Endpoint("abc", "02:42:ac:14:00:07", (("172.20.0.7", 24, ""),))
DEFAULT = Route(4, "", 0, "172.17.0.1")
SECOND_DEFAULT = Route(4, "", 0, "172.18.0.1")
DEFAULT6 = Route(6, "", 0, "fd00::1", metric=1024)
ETH2 = Interface("eth2", IfIndex(11), MAC2, 1500)


def recorded(*originals: Interface) -> Record:
    taps = tuple(TapRecord(n, each.name, f"vtap{n}", None, each) for n, each in enumerate(originals))
    return Record(ID, NAME, INCARNATION, taps)


def seen(*interfaces: Interface) -> Seen:
    return Seen(INCARNATION, interfaces=tuple(map(SeenInterface, interfaces)))


def taken(interface: Interface, *routes: Route) -> Interface:
    """Return the interface as the kernel shows it while a guest has its addresses."""
    return replace(interface, mac="5e:00:00:00:00:09", addresses=(), routes=routes)


def routes(record: Record) -> dict[str, tuple[Route, ...]]:
    return {entry.interface: entry.original.routes for entry in record.taps if entry.original}


@pytest.mark.parametrize(
    "route",
    [
        replace(DEFAULT, prefix=8),
        replace(DEFAULT, table=100),
        replace(DEFAULT, type=7),
        replace(DEFAULT, protocol=9),
        replace(DEFAULT, gateway=None),
        replace(DEFAULT, valid_until_s=7.0),
        replace(DEFAULT, hops=(Hop(IfIndex(7), "172.17.0.1", 1),)),
    ],
)
def test_other_routes_are_not_dockers_default(route: Route) -> None:
    assert is_dockers_default(DEFAULT)
    assert not is_dockers_default(route)


def test_gateways_of_docker_and_of_the_default_route_are_reached() -> None:
    original = replace(ETH1, routes=(Route(4, "", 0, "172.18.0.9"), Route(4, "10.0.0.0", 8, "172.18.0.8")))
    assert gateways_to_reach(original, (FIRST, SECOND, INTERNAL)) == ("172.18.0.1", "fd00::1", "172.18.0.9")
    assert gateways_to_reach(replace(original, routes=()), ()) == ()


def test_routes_to_a_gateway_are_of_vtapds_own_protocol() -> None:
    assert route_to("172.17.0.1") == Route(4, "172.17.0.1", 32, protocol=118, scope=253)
    assert route_to("fd00::1") == Route(6, "fd00::1", 128, protocol=118)


def test_taken_interface_has_routes_to_gateways_alone() -> None:
    reached = replace(taken(ETH0), reached=("172.17.0.1", "fd00::1"))
    assert has_only_routes_to(("172.17.0.1",), reached)
    assert not has_only_routes_to(("172.17.0.9",), reached)
    assert not has_only_routes_to((), taken(ETH0, DEFAULT))
    assert has_only_routes_to((), taken(ETH0, DEFAULT6)), "Linux leaves the default route of IPv6"


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ((THIRD, FIRST), {4: "aaa"}),
        ((INTERNAL, THIRD), {4: "ccc"}),
        ((FIRST, SECOND, THIRD), {4: "bbb", 6: "bbb"}),
        ((FIRST, replace(THIRD, priority=7)), {4: "ccc"}),
        ((FIRST, replace(SECOND, addresses=SECOND.addresses[1:])), {4: "aaa", 6: "bbb"}),
        ((INTERNAL,), {}),
    ],
    ids=["by name", "internal", "both versions", "priority", "one of each", "none"],
)
def test_docker_chooses_a_gateway(endpoints: tuple[Endpoint, ...], chosen: dict[int, str]) -> None:
    assert {version: each.network for version, each in gateway_endpoints(endpoints).items()} == chosen


def test_default_route_that_docker_sets_on_a_taken_interface_is_recorded() -> None:
    record = recorded(ETH0, ETH1)
    followed = with_current_gateways(record, seen(taken(ETH0), taken(ETH1, SECOND_DEFAULT)), (FIRST, SECOND))
    assert routes(followed) == {"eth0": (), "eth1": (SECOND_DEFAULT,)}
    again = with_current_gateways(followed, seen(taken(ETH0), taken(ETH1, SECOND_DEFAULT)), (FIRST, SECOND))
    assert again == followed


def test_unchanged_default_route_changes_nothing() -> None:
    record = recorded(replace(ETH0, routes=(DEFAULT, DEFAULT6)))
    assert with_current_gateways(record, seen(taken(ETH0, DEFAULT6), ETH1), (FIRST, SECOND)) == record


def test_default_route_on_a_better_network_replaces_the_recorded_one() -> None:
    """Docker has connected a network: its interface is not taken over yet."""
    record = replace(
        recorded(ETH1), taps=(*recorded(replace(ETH1, routes=(SECOND_DEFAULT,))).taps, TapRecord(2, "e", "t"))
    )
    better = Endpoint("aaa", MAC2, (("172.19.0.7", 24, "172.19.0.1"), ("fd01::7", 64, "fd01::1")))
    now = seen(taken(ETH1), replace(ETH2, routes=(Route(4, "", 0, "172.19.0.1"),)))
    assert routes(with_current_gateways(record, now, (better, SECOND))) == {"eth1": ()}


def test_default_route_of_the_containers_own_doing_is_not_dockers() -> None:
    record = recorded(replace(ETH1, routes=(SECOND_DEFAULT,)))
    now = seen(taken(ETH1), replace(ETH2, routes=(Route(4, "", 0, "172.19.0.1"),)))
    assert with_current_gateways(record, now, (SECOND, THIRD)) == record
    assert with_current_gateways(record, now, (SECOND,)) == record


def test_default_route_of_a_network_that_docker_has_disconnected_gives_way() -> None:
    record = recorded(ETH0)
    now = seen(taken(ETH0), replace(ETH2, routes=(Route(4, "", 0, "172.19.0.1"),)))
    assert routes(with_current_gateways(record, now, (THIRD,))) == {"eth0": ()}


def test_gateway_of_an_interface_that_is_gone_goes_to_the_next_network() -> None:
    record = recorded(ETH0, ETH1, ETH2)
    followed = with_current_gateways(record, seen(taken(ETH1), taken(ETH2)), (FIRST, SECOND, THIRD))
    assert routes(followed)["eth1"] == (SECOND_DEFAULT,)
    assert with_current_gateways(followed, seen(taken(ETH1), taken(ETH2)), (SECOND, THIRD)) == followed


def test_gateway_is_inherited_by_no_interface_that_docker_can_reach() -> None:
    record = recorded(ETH0, ETH1)
    other = replace(ETH2, routes=(Route(4, "", 0, "172.19.0.1"),))
    assert routes(with_current_gateways(record, seen(taken(ETH1), other), (SECOND, THIRD))) == {"eth0": (), "eth1": ()}
    assert with_current_gateways(record, seen(taken(ETH1)), ()) == record
    assert with_current_gateways(record, seen(taken(ETH1), ETH2), (THIRD,)) == record


def test_docker_moves_the_gateway_under_a_guest() -> None:
    host = SimulatedHost({"eth0": ETH0, "eth1": replace(ETH1, routes=())})
    served = Desired(attached=True, takeover=True, guest=True, cards=8, ip_versions=(4,), endpoints=(FIRST, SECOND))
    host.converge(served)
    assert host.interfaces["eth0"].reached == ("172.17.0.1",)
    assert host.interfaces["eth1"].reached == ("172.18.0.1", "fd00::1")
    host.interfaces["eth1"] = replace(host.interfaces["eth1"], routes=(SECOND_DEFAULT,))
    taken_actions = [type(action) for action in host.converge(served)]
    assert taken_actions == [actions.WriteRecord, actions.TakeOver]
    assert not host.interfaces["eth1"].routes
    host.converge(Desired(attached=False))
    assert host.interfaces["eth1"].routes == (SECOND_DEFAULT,)
    assert host.interfaces["eth0"].routes == ()
