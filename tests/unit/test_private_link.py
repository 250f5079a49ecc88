"""The private link between a guest and its container: when there is one, and what is removed of it."""

from dataclasses import replace

import pytest

from supervisor.core.attach.actions import ClosePrivateLink, OpenPrivateLink, WriteRecord
from supervisor.core.attach.private_link import closing_step, expected_hooks, expected_ways, opening_steps, why_no_link
from supervisor.core.attach.state import Desired, Seen, SeenInterface
from supervisor.core.links import Address, GuestWay, Hooks, IfIndex, Interface, Route, Tap
from supervisor.core.record import PrivateLink, Record, TapRecord
from tests.unit.examples import DEVICE, ETH0, ETH1, ID, INCARNATION, NAME, TAP0

from .disturbances import lose_guest_ways, lose_hooks, lose_link_address
from .simulated_host import SimulatedHost

R = "169.254.118.1"
LINK = PrivateLink(R, own_clsact=True)
SERVED = Desired(True, takeover=True, cards=9, guest=True, link_address=R)
TAKEN = replace(ETH0, mac="5e:00:00:00:00:09", addresses=(), routes=())


def entry(original: Interface = ETH0, link: PrivateLink | None = None) -> TapRecord:
    return TapRecord(0, "eth0", TAP0.name, DEVICE, original, TAP0.index, ETH0.index, link=link)


def seen(interface: Interface = TAKEN, hooks: Hooks = Hooks(), *others: str, tap: Tap | None = TAP0) -> Seen:  # noqa: B008  # a frozen value
    return Seen(INCARNATION, interfaces=(SeenInterface(interface, tap, hooks=hooks),), other_ipv4=frozenset(others))


def record(*entries: TapRecord) -> Record:
    return Record(ID, NAME, INCARNATION, entries)


def why(original: Interface, *others: str, now: Interface = TAKEN) -> str:
    return why_no_link(seen(now, Hooks(), *others), record(entry(original)), entry(original), R)


class TestRefusal:
    def test_link_has_an_address_that_the_container_has_not(self) -> None:
        assert why(ETH0) == ""
        assert why(ETH0, "127.0.0.1") == ""

    def test_address_of_the_container(self) -> None:
        assert "the container has the address 169.254.118.1 itself" in why(ETH0, R)

    def test_address_that_is_on_record_is_vtapds(self) -> None:
        ours = entry(link=LINK)
        assert why_no_link(seen(TAKEN, Hooks(), R), record(ours), ours, R) == ""

    @pytest.mark.parametrize(
        "original",
        [
            replace(ETH0, addresses=(Address(4, "169.254.9.9", 16),)),
            replace(ETH0, addresses=(*ETH0.addresses, Address(4, "10.0.0.1", 24, peer="169.254.118.7"))),
            replace(ETH0, routes=(*ETH0.routes, Route(4, "169.254.0.0", 16))),
        ],
    )
    def test_address_in_a_network_of_the_container(self, original: Interface) -> None:
        assert "is in the network" in why(original)

    def test_address_in_a_network_of_another_interface(self) -> None:
        other = SeenInterface(replace(ETH1, addresses=(Address(4, "169.254.118.9", 24),)))
        both = Seen(INCARNATION, interfaces=(SeenInterface(TAKEN, TAP0), other))
        assert why_no_link(both, record(entry()), entry(), R) == (
            "169.254.118.1 is in the network 169.254.118.9/24 of eth1"
        )

    @pytest.mark.parametrize(
        "addresses", [(), (Address(6, "2001:db8::2", 64),), (Address(4, "10.0.0.9", 8, valid_until_s=9.0),)]
    )
    def test_guest_without_an_ipv4_address(self, addresses: tuple[Address, ...]) -> None:
        assert "no IPv4 address" in why(replace(ETH0, addresses=addresses))

    def test_link_is_closed_when_the_container_gets_into_such_a_network(self) -> None:
        ours = entry(link=LINK)
        now = replace(TAKEN, routes=(Route(4, "169.254.0.0", 16),))
        (step,) = opening_steps(seen(now, Hooks(), R), record(ours), ours, R)
        assert isinstance(step, ClosePrivateLink)
        assert list(opening_steps(seen(now), record(entry()), entry(), R)) == []


class TestClosing:
    def test_hooks_of_another_program_stay(self) -> None:
        foreign = entry(link=PrivateLink(R, own_clsact=False))
        assert isinstance(closing_step(seen(TAKEN, Hooks(clsact=True)), record(foreign), foreign), WriteRecord)
        step = closing_step(seen(TAKEN, Hooks(clsact=True, guard="vtapd-1")), record(foreign), foreign)
        assert step == ClosePrivateLink(TAKEN, TAP0, None, own_clsact=False)

    def test_address_stays_for_the_link_on_another_interface(self) -> None:
        ours, other = entry(link=LINK), TapRecord(1, "eth1", "vtap1", None, ETH1, link=LINK)
        step = closing_step(seen(TAKEN, Hooks(interface="vtapd-1"), R), record(ours, other), ours)
        assert step == ClosePrivateLink(TAKEN, TAP0, None, own_clsact=True)
        assert isinstance(closing_step(seen(TAKEN, Hooks(), R), record(ours, other), ours), WriteRecord)

    def test_only_the_address_is_left_of_an_interface_that_is_gone(self) -> None:
        ours = entry(link=LINK)
        for now in (Seen(INCARNATION, other_ipv4=frozenset({R})), seen(replace(TAKEN, index=IfIndex(70)), Hooks(), R)):
            assert closing_step(now, record(ours), ours) == ClosePrivateLink(None, None, R, own_clsact=True)
        stray = Seen(INCARNATION, other_ipv4=frozenset({R}), strays=((0, TAP0),))
        assert closing_step(stray, record(ours), ours) == ClosePrivateLink(None, TAP0, R, own_clsact=True)

    def test_interface_that_was_given_back_is_known_by_the_taps_parent(self) -> None:
        ours = replace(entry(link=LINK), original=None)
        linked = replace(ETH0, guests=(GuestWay("172.17.0.2", R),))
        assert closing_step(seen(linked), record(ours), ours) == ClosePrivateLink(linked, TAP0, None, own_clsact=True)


@pytest.mark.parametrize("lose", [lose_hooks, lose_link_address, lose_guest_ways])
def test_what_the_container_removes_is_made_again(lose: object) -> None:
    host = SimulatedHost({"eth0": ETH0})
    host.converge(SERVED)
    assert callable(lose)
    lose(host)
    (action,) = host.converge(SERVED)
    assert isinstance(action, OpenPrivateLink)


def test_interface_that_is_exchanged_gets_a_link_of_its_own() -> None:
    """Docker disconnects the network and connects it again, while no daemon runs."""
    host = SimulatedHost({"eth0": ETH0})
    host.converge(SERVED)
    host.guest = None
    host.docker["eth0"] = host.interfaces["eth0"] = replace(ETH0, index=IfIndex(77))
    host.taps, host.clsact, host.filters, host.guards = {}, set(), {}, {}
    taken = host.converge(SERVED)
    assert [type(each) for each in taken if isinstance(each, OpenPrivateLink | ClosePrivateLink)] == [
        ClosePrivateLink,
        OpenPrivateLink,
    ]
    assert host.guards.keys() == {77}
    host.converge(Desired(False))
    assert (host.record, host.clsact, host.loopback) == (None, set(), {"127.0.0.1"})


def test_other_address_of_the_configuration_replaces_the_one_before() -> None:
    host = SimulatedHost({"eth0": ETH0})
    host.converge(SERVED)
    host.converge(replace(SERVED, link_address="10.9.9.9"))
    assert host.loopback == {"127.0.0.1", "10.9.9.9"}


def test_hooks_are_named_by_their_program() -> None:
    names = {expected_hooks(*each).interface for each in ((ETH0, TAP0, R), (ETH1, TAP0, R), (ETH0, TAP0, "10.0.0.1"))}
    assert len(names) == 3


def test_every_address_of_the_guest_is_reached() -> None:
    more = replace(ETH0, addresses=(*ETH0.addresses, Address(4, "10.1.1.1", 32), Address(6, "2001:db8::2", 64)))
    assert expected_ways(more, R) == (GuestWay("10.1.1.1", R, ETH0.mac), GuestWay("172.17.0.2", R, ETH0.mac))
