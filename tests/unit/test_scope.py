"""Which interfaces of a container vtapd concerns itself with."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from supervisor.core.attach.scope import Scope, is_sure, observed_interfaces, why_no_macvtap
from supervisor.core.attach.state import SeenInterface
from supervisor.core.container import Endpoint
from supervisor.core.links import Address, IfIndex, Interface, Link, Tap
from supervisor.core.record import TapRecord

from .examples import ETH0, ETH1, TAP0

NET0 = Endpoint("net0", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"),))
NET1 = Endpoint("net1", ETH1.mac, (("172.18.0.5", 24, "172.18.0.1"),))
NONE = Endpoint("none", "")
BOTH = Scope((NET0, NET1))
ONE = Scope((NET0,))
LAB = Interface("lab0", IfIndex(20), "5e:00:00:00:00:20", 1500, (Address(4, "10.88.0.1", 24),))
MAC = "5e:00:00:00:00:77"
ELSEWHERE = (Address(4, "10.77.0.7", 24),)


def link(interface: Interface, kind: str = "veth", outside: bool = True, master: int | None = None) -> Link:
    """Return the link of an interface; its other end is outside the container."""
    found = Link(interface.index, interface.name, interface.mac, interface.mtu, True, True, kind, 30)
    return replace(found, parent_netns=0 if outside else None, master=master)


def seen(
    scope: Scope,
    *links: tuple[Interface, Link],
    taps: Sequence[tuple[Interface, Tap]] = (),
    entries: tuple[TapRecord, ...] = (),
) -> dict[str, SeenInterface]:
    on = {interface.index: tap for interface, tap in taps}
    every = {each.index: each for _, each in links}
    found = observed_interfaces([interface for interface, _ in links], every, on, entries, scope)
    return {each.interface.name: each for each in found}


def wanted(scope: Scope, *interfaces: Interface, entries: tuple[TapRecord, ...] = ()) -> list[str]:
    """Return the names of those that count, out of interfaces from outside the container."""
    shown = seen(scope, *((each, link(each)) for each in interfaces), entries=entries)
    return [name for name, each in shown.items() if each.wanted]


class TestDockersInterfaces:
    def test_every_listed_network_has_its_interface(self) -> None:
        assert wanted(BOTH, ETH0, ETH1, LAB) == ["eth0", "eth1"]
        assert wanted(replace(BOTH, endpoints=(NET1, NONE, NET0)), ETH1, LAB, ETH0) == ["eth1", "eth0"]

    def test_interface_from_elsewhere_does_not_count(self) -> None:
        assert wanted(ONE, ETH0, replace(LAB, name="eth1")) == ["eth0"]
        assert wanted(replace(ONE, endpoints=()), ETH0) == []

    def test_mac_or_addresses_that_the_container_changed(self) -> None:
        assert wanted(BOTH, replace(ETH0, mac=MAC), ETH1, LAB) == ["eth0", "eth1"]
        assert wanted(BOTH, replace(ETH0, addresses=ELSEWHERE), ETH1, LAB) == ["eth0", "eth1"]
        assert wanted(BOTH, replace(ETH0, name="wan"), ETH1, LAB) == ["wan", "eth1"]

    def test_both_changed(self) -> None:
        """The one that is left with Docker's kind of name, or on record, is taken for it."""
        other = replace(ETH0, mac=MAC, addresses=ELSEWHERE)
        assert wanted(BOTH, LAB, other, ETH1) == ["eth0", "eth1"]
        assert wanted(BOTH, LAB, replace(other, name="wan"), ETH1) == ["eth1"]
        entries = (TapRecord(64, "wan", "vtap110002"),)
        assert wanted(BOTH, replace(ETH1, index=IfIndex(5), name="eth5", mac=MAC), replace(other, name="wan"), ETH1,
                      entries=entries) == ["wan", "eth1"]  # fmt: skip

    def test_docker_that_lists_nothing_is_not_believed_about_interfaces_on_record(self) -> None:
        """As while it restarts."""
        entries = (TapRecord(0, "eth0", TAP0.name),)
        blank = Scope((Endpoint("net0", ""), Endpoint("net1", "")))
        assert wanted(Scope(()), ETH0, ETH1, entries=entries) == ["eth0"]
        assert wanted(blank, LAB, ETH0, ETH1, entries=entries) == ["eth0", "eth1"]
        assert wanted(ONE, ETH0, replace(LAB, name="eth1"), entries=(TapRecord(1, "eth1", "vtap000020"),)) == ["eth0"]

    def test_taken_over_interface_is_known_by_its_record_or_its_tap(self) -> None:
        taken = replace(ETH0, mac=MAC, addresses=())
        entry = TapRecord(0, "eth0", TAP0.name, TAP0.device, original=ETH0)
        ends = (taken, link(taken)), (LAB, link(LAB))
        assert seen(ONE, *ends, entries=(entry,))["eth0"].wanted
        shown = seen(ONE, *ends, taps=[(taken, replace(TAP0, mac=ETH0.mac))])
        assert list(shown) == ["eth0"]
        assert shown["eth0"].wanted

    @pytest.mark.parametrize("kind", ["bridge", "veth", "vlan", "tun", "dummy", "macvlan", "bond"])
    def test_what_the_container_made_itself_does_not_count(self, kind: str) -> None:
        """Even if it has the MAC and the addresses of Docker's interface, as a bridge with that port."""
        port = replace(ETH0, addresses=())
        own = replace(ETH0, name="br0", index=IfIndex(40))
        for scope in (ONE, Scope()):
            shown = seen(scope, (port, link(port)), (own, link(own, kind, outside=False)))
            assert "br0" not in shown

    def test_before_docker_is_asked_all_from_outside_count(self) -> None:
        assert wanted(Scope(), ETH0, LAB, replace(ETH1, addresses=())) == ["eth0", "lab0"]

    def test_before_docker_is_asked_what_may_be_made_inside_does_not_count(self) -> None:
        both = (ETH0, link(ETH0)), (LAB, link(LAB, "gretap", outside=False))
        assert [*seen(Scope(), *both)] == ["eth0"]

    def test_all(self) -> None:
        own = link(LAB, "bridge", outside=False)
        assert [*seen(Scope((NET0,), all=True), (ETH0, link(ETH0)), (LAB, own))] == ["eth0", "lab0"]

    def test_interface_of_a_kind_that_no_container_makes(self) -> None:
        assert [*seen(ONE, (ETH0, link(ETH0, "", outside=False)))] == ["eth0"]


class TestAddresses:
    BARE = replace(ETH0, addresses=())

    def test_interface_without_an_address_does_not_count(self) -> None:
        assert wanted(ONE, self.BARE) == []

    @pytest.mark.parametrize("every", [True, False])
    def test_it_does_if_the_guest_has_its_own(self, every: bool) -> None:
        bare = replace(LAB, addresses=())
        assert wanted(Scope((NET0,), all=every, addressless=True), self.BARE, bare) == ["eth0"]

    def test_it_does_if_it_has_a_tap_or_is_on_record(self) -> None:
        assert wanted(ONE, self.BARE, entries=(TapRecord(0, "eth0", TAP0.name),)) == ["eth0"]
        assert seen(ONE, (self.BARE, link(self.BARE)), taps=[(self.BARE, TAP0)])["eth0"].wanted

    def test_it_does_if_it_is_a_port_so_that_the_reason_is_shown(self) -> None:
        bridge = replace(LAB, addresses=ETH0.addresses)
        both = (self.BARE, link(self.BARE, master=20)), (bridge, link(bridge, "bridge", outside=False))
        (only,) = seen(ONE, *both).values()
        assert (only.wanted, only.obstacle) == (True, "eth0 is a port of a bridge (lab0)")


def test_interface_that_does_not_count_is_shown_as_long_as_it_has_a_tap_or_an_entry() -> None:
    (lab,) = seen(Scope(()), (LAB, link(LAB)), taps=[(LAB, TAP0)]).values()
    assert (lab.wanted, lab.tap) == (False, TAP0)
    (lab,) = seen(Scope((NONE,)), (LAB, link(LAB)), entries=(TapRecord(64, "lab0", "vtap000020"),)).values()
    assert not lab.wanted


class TestObstacles:
    def test_none(self) -> None:
        assert why_no_macvtap(link(ETH0), [link(ETH0), link(LAB, "bridge")]) == ""

    @pytest.mark.parametrize("kind", ["bridge", "bond", "team", "openvswitch"])
    def test_port(self, kind: str) -> None:
        port = link(ETH0, master=LAB.index)
        assert why_no_macvtap(port, [port, link(LAB, kind)]) == f"eth0 is a port of a {kind} (lab0)"

    def test_port_of_a_link_without_a_kind(self) -> None:
        assert why_no_macvtap(link(ETH0, master=LAB.index), [link(LAB, "")]) == "eth0 is a port of a link (lab0)"

    def test_vrf_does_not_receive_for_its_ports(self) -> None:
        assert why_no_macvtap(link(ETH0, master=LAB.index), [link(LAB, "vrf")]) == ""

    def test_ipvlan_on_it(self) -> None:
        on_it = replace(link(LAB, "ipvlan", outside=False), parent=ETH0.index)
        assert why_no_macvtap(link(ETH0), [on_it]) == "eth0 has an ipvlan link on it (lab0)"
        assert why_no_macvtap(link(ETH0), [replace(on_it, parent_netns=0)]) == ""


class TestSureness:
    """Whether the full list of links is needed, for which the kernel has one lock."""

    def test_macs_of_all_networks(self) -> None:
        assert is_sure([ETH0, ETH1], BOTH)
        assert is_sure([ETH0], Scope((NONE, NET0)))
        for interfaces in ([ETH0], [ETH0, ETH1, LAB], [ETH0, replace(ETH1, mac=MAC)]):
            assert not is_sure(interfaces, BOTH)

    @pytest.mark.parametrize("scope", [Scope(), Scope((NET0,), all=True)])
    def test_all_that_have_an_address(self, scope: Scope) -> None:
        assert is_sure([LAB], scope)
        assert not is_sure([LAB], replace(scope, addressless=True))
