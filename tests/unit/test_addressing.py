"""The interface configuration that a guest is given."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.container import Endpoint
from supervisor.core.guest.addressing import interfaces_of, network_of, notes_on_others, whereabouts_of, with_resolver
from supervisor.core.guest.spec import AddressPlan
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.network import GuestNetwork, Nic, Room, left_out
from supervisor.core.links import Address, Interface, Route
from supervisor.core.record import Whereabouts

from .examples import ETH0, ETH1, ID, TAP0, container

OWN = Address(4, "172.17.0.200", 16, "172.17.255.255")
TAP1 = replace(TAP0, name="vtap120005", mac="5e:00:00:00:00:02")
CARDS = ((ETH0, TAP0.mac), (ETH1, TAP1.mac))
BARE = (
    replace(ETH0, mac=TAP0.mac, addresses=(), routes=()),
    replace(ETH1, mac=TAP1.mac, addresses=(), routes=()),
)


V4, V6 = Address(4, "10.0.0.2", 24), Address(6, "fd00::2", 64)


def test_takeover_gives_the_guest_the_containers_addresses() -> None:
    assert interfaces_of(CARDS, AddressPlan()) == (ETH0, ETH1)


def test_static_address_goes_to_the_first_card() -> None:
    result = interfaces_of(CARDS, AddressPlan("static", OWN, "172.17.0.1"))
    assert result == (replace(BARE[0], addresses=(OWN,), routes=(Route(4, "", 0, "172.17.0.1"),)), BARE[1])
    assert result[0].gateway() == "172.17.0.1"
    assert interfaces_of(CARDS, AddressPlan("static", OWN))[0].routes == ()


def test_dhcp_guest_gets_only_the_mac_addresses() -> None:
    assert interfaces_of(CARDS, AddressPlan("dhcp")) == BARE


def test_network_config_is_that_of_the_container_interface() -> None:
    network = network_of([ETH0], container(hostname="kek"), Names(("192.0.2.53",), "lan"))
    (nic,) = network.nics
    assert (nic.name, nic.mac, nic.mtu, nic.gateway4, nic.gateway6) == ("eth0", ETH0.mac, 1500, "172.17.0.1", None)
    assert (nic.addresses, nic.routes, network.hostname) == (ETH0.addresses, (), "kek")
    assert (network.dns, network.search, network.dhcp) == (("192.0.2.53",), "lan", False)


def test_hostname_domain_and_hosts_chosen_by_the_user_are_passed() -> None:
    given = container(hostname="kek", domainname="example.com", extra_hosts=("db:10.0.0.5",))
    network = network_of([ETH0], given, Names())
    assert (network.hostname_chosen, network.domain, network.hosts) == (True, "example.com", ("db:10.0.0.5",))
    assert not network_of([ETH0], container(hostname=ID[:12]), Names()).hostname_chosen
    assert left_out(replace(network, hostname="", dhcp=True), Room()) == (
        "Not passed to the guest: domain name example.com.",
        "Not passed to the guest: host db:10.0.0.5 (docker run --add-host).",
    )


def test_kernel_routes_and_link_local_addresses_are_left_out() -> None:
    ipv6, link_local = Address(6, "2001:db8::2", 64), Address(6, "fe80::42", 64, scope=253)
    default6, of_address = Route(6, "", 0, "2001:db8::1"), Route(4, "172.17.0.0", 16, protocol=2)
    on_link, via = Route(4, "192.0.2.1", 32), Route(4, "198.51.100.0", 24, "172.17.0.9")
    others = (Route(4, "203.0.113.0", 24, table=100), Route(4, "203.0.113.0", 24, type=7))
    interface = replace(
        ETH0,
        addresses=(*ETH0.addresses, ipv6, link_local),
        routes=(*ETH0.routes, default6, of_address, on_link, via, *others),
    )
    (nic,) = network_of([interface], container(), Names()).nics
    assert nic.of_family(6) == (ipv6,)
    assert nic.gateway6 == "2001:db8::1"
    assert nic.routes == (on_link, via)


OCTETS = st.integers(1, 4)
DOCKERS4, DOCKERS6 = ETH0.addresses[0], Address(6, "fd00::2", 64)
ENDPOINT = Endpoint("net", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"), ("fd00:0::2", 64, "fd00::1")))
BRIDGED = container(endpoints=(ENDPOINT,))
DEFAULT6 = Route(6, "", 0, "fd00::1", metric=1024)


def nic_on(*addresses: Address, routes: tuple[Route, ...] = ()) -> Nic:
    (nic,) = network_of([replace(ETH0, addresses=addresses, routes=routes)], BRIDGED, Names()).nics
    return nic


def test_docker_address_comes_first_of_several() -> None:
    newer4, newer6 = Address(4, "10.0.0.9", 24), Address(6, "2001:db8::9", 64)
    nic = nic_on(newer4, DOCKERS4, newer6, DOCKERS6)
    assert nic.of_family(4) == (DOCKERS4, newer4)
    assert nic.of_family(6) == (DOCKERS6, newer6)


@pytest.mark.parametrize(
    ("routes", "gateway"),
    [
        ((), None),
        ((DEFAULT6,), "fd00::1"),
        ((Route(6, "", 0, "fd00::5", metric=1), DEFAULT6), "fd00::1"),
        ((Route(6, "", 0, "fe80::1", metric=1),), "fd00::1"),
        ((Route(6, "", 0, "fd00::5", table=100),), None),
        ((Route(6, "", 0, "fd00::5", type=7),), None),
        ((Route(6, "", 0),), None),
    ],
    ids=[
        "no default route",
        "Docker's",
        "Docker's before a better metric",
        "a router's link-local gateway",
        "another table",
        "unreachable route",
        "route without a gateway",
    ],
)
def test_docker_gateway_goes_with_the_docker_address(routes: tuple[Route, ...], gateway: str | None) -> None:
    """Docker names a gateway for each network; it counts only while the container has a default route."""
    assert nic_on(Address(6, "2001:db8::9", 64), DOCKERS6, routes=routes).gateway(6) == gateway


@pytest.mark.parametrize(
    ("routes", "gateway", "withheld"),
    [
        ([Route(4, "", 0, "10.0.0.1")], "10.0.0.1", []),
        ([Route(4, "", 0, "10.0.0.1", metric=9), Route(4, "", 0, "10.0.0.3", metric=5)], "10.0.0.3",
         ["gateway 10.0.0.1 of eth0: the guest is given 10.0.0.3"]),
        ([Route(4, "", 0, "192.0.2.1"), Route(4, "", 0, "10.0.0.1", metric=9)], "10.0.0.1",
         ["gateway 192.0.2.1 of eth0: it is not on the link of 10.0.0.9/24"]),
        ([Route(4, "", 0, "192.0.2.1")], None,
         ["gateway 192.0.2.1 of eth0: it is not on the link of 10.0.0.9/24"]),
        ([Route(4, "", 0, "10.0.0.1", valid_until_s=9.0)], None,
         ["gateway 10.0.0.1 of eth0: its route has a lifetime"]),
    ],
)  # fmt: skip  # a case each
def test_gateway_is_on_the_link_of_the_guests_address(
    routes: list[Route], gateway: str | None, withheld: list[str]
) -> None:
    nic = nic_on(Address(4, "10.0.0.9", 24), routes=tuple(routes))
    assert (nic.gateway4, list(nic.withheld)) == (gateway, withheld)


ENDS = st.none() | st.floats(1.0, 9.0)
SOME_ADDRESSES = st.lists(
    st.builds(
        lambda n, p, end: Address(4, f"10.0.{n}.9", p, valid_until_s=end), OCTETS, st.sampled_from([16, 24, 32]), ENDS
    )
    | st.builds(lambda n, end: Address(6, f"fd00:0:0:{n}::9", 64, valid_until_s=end), OCTETS, ENDS),
    unique_by=str,
)
SOME_DEFAULTS = st.lists(
    st.builds(lambda n, end: Route(4, "", 0, f"10.0.{n}.1", valid_until_s=end), OCTETS, ENDS)
    | st.builds(lambda n, end: Route(6, "", 0, f"fd00:0:0:{n}::1", metric=n, valid_until_s=end), OCTETS, ENDS)
)


@given(SOME_ADDRESSES, SOME_DEFAULTS, st.sets(OCTETS))
def test_guest_gets_addresses_and_gateways_that_match(
    addresses: list[Address], routes: list[Route], dockers: set[int]
) -> None:
    own = [(f"10.0.{n}.9", 16, f"10.0.{n}.1") for n in dockers] + [(f"fd00:0:0:{n}::9", 64, "") for n in dockers]
    interface = replace(ETH0, addresses=tuple(addresses), routes=tuple(routes))
    docked = container(endpoints=(Endpoint("net", ETH0.mac, tuple(own)),))
    (nic,) = network_of([interface], docked, Names()).nics
    assert all(address.valid_until_s is None for address in nic.addresses)
    for family in (4, 6):
        first = next(iter(nic.of_family(family)), None)
        if any(address.ip in {ip for ip, _, _ in own} for address in nic.of_family(family)):
            assert first is not None
            assert first.ip in {ip for ip, _, _ in own}
        if gateway := nic.gateway(family):
            assert first is not None
            assert ipaddress.ip_address(gateway) in ipaddress.ip_interface(str(first)).network
    result = {*nic.addresses, *(part.split()[1] for part in nic.withheld)}
    assert all(address in result or str(address) in result for address in addresses), (
        "an address is neither given nor withheld"
    )


def test_addresses_that_do_not_last_are_withheld() -> None:
    slaac = Address(6, "2001:db8::42:acff:fe11:2", 64, flags=0x100, valid_until_s=300.0, preferred_until_s=200.0)
    deprecated, doubled = Address(6, "fd00::8", 64, flags=0xA0), Address(6, "fd00::9", 64, flags=0xC8)
    fading, stays = Route(6, "2001:db8:1::", 48, "fe80::1", valid_until_s=60.0), Route(6, "fd01::", 64, "fd00::9")
    local = Address(6, "fe80::2", 64, scope=253, valid_until_s=300.0)
    nic = nic_on(slaac, deprecated, doubled, local, DOCKERS6, routes=(fading, stays))
    assert (nic.addresses, nic.routes) == ((DOCKERS6,), (stays,))
    lifetime = "it has a lifetime, after which the guest would still use it"
    assert nic.withheld == (
        f"address {slaac} of eth0: {lifetime}",
        "address fd00::8/64 of eth0: it is deprecated",
        "address fd00::9/64 of eth0: another machine on its network has it too",
        f"route 2001:db8:1::/48 via fe80::1 of eth0: {lifetime}",
    )


def test_tentative_address_is_given_to_the_guest() -> None:
    tentative = Address(6, "fd00::7", 64, flags=0xC0)
    assert nic_on(tentative).addresses == (tentative,)


def test_health_probe_asks_at_an_address_of_the_guest() -> None:
    fading = Address(6, "2001:db8::9", 64, valid_until_s=9.0)
    ipv6 = replace(ETH0, name="wan0", addresses=(fading, Address(6, "fe80::2", 64, scope=253), DOCKERS6))

    def asked(*interfaces: Interface, versions: tuple[int, ...] = (4, 6)) -> Whereabouts | None:
        return whereabouts_of(network_of(interfaces, BRIDGED, Names()), versions)

    eth1 = Whereabouts("172.18.0.5", ETH1.mac, "eth1")
    assert asked(ETH0, ETH1) == Whereabouts("172.17.0.2", ETH0.mac, "eth0", "172.17.0.1")
    assert asked(BARE[0], ETH1) == eth1
    assert asked(ipv6, ETH1) == Whereabouts("fd00::2", ETH0.mac, "wan0")
    assert asked(ipv6, ETH1, versions=(4,)) == eth1
    assert asked(*BARE) is None
    assert whereabouts_of(None, (4, 6)) is None


def test_interface_without_a_card_is_named_with_the_reason() -> None:
    ipv6 = replace(ETH0, addresses=(DOCKERS6,))
    stays = "which stays with the container"
    assert notes_on_others([ipv6, ETH1], (4,)) == (
        f"The guest has no card on eth0, {stays}: it has no IPv4 address that the guest could have for good.",
        f"The guest has no card on eth1, {stays}: a guest of this kind can be given no more cards.",
    )
    assert "no more cards" in notes_on_others([ipv6], ())[0]
    assert notes_on_others((), (4, 6)) == ()


def test_guest_has_one_gateway_of_each_version() -> None:
    """The container has a second default route, which its kernel uses only without the first one."""
    first = replace(ETH0, routes=(Route(4, "", 0, "172.17.0.1", metric=20),))
    second = replace(
        ETH1,
        addresses=(*ETH1.addresses, Address(6, "fd00::5", 64)),
        routes=(Route(4, "", 0, "172.18.0.1", metric=5), Route(6, "", 0, "fd00::1", metric=1024)),
    )
    third = replace(
        ETH1,
        name="eth2",
        addresses=(Address(6, "fd01::5", 64),),
        routes=(Route(6, "", 0, "fd01::1", metric=2048),),
    )
    network = network_of((first, second, third), container(), Names())
    assert [nic.gateway4 for nic in network.nics] == [None, "172.18.0.1", None]
    assert [nic.gateway6 for nic in network.nics] == [None, "fd00::1", None]
    assert network.nics[0].withheld == ("gateway 172.17.0.1 of eth0: the guest is given 172.18.0.1 of eth1",)
    assert network.nics[2].withheld == ("gateway fd01::1 of eth2: the guest is given fd00::1 of eth1",)


def test_resolver_is_the_only_dns_server_and_knows_the_added_hosts() -> None:
    network = GuestNetwork((Nic(0, "", 1500, (V4,), "10.0.0.1"),), dns=("192.0.2.53",), hosts=("db:192.0.2.9",))
    found = with_resolver(network, "169.254.118.1")
    assert found == replace(network, dns=("169.254.118.1",), hosts=())


def test_guest_without_a_gateway_gets_a_route_to_its_resolver() -> None:
    six, four = Nic(0, "", 1500, (V6,)), Nic(1, "", 1500, (V4,))
    found = with_resolver(GuestNetwork((six, four)), "169.254.118.1")
    assert found.nics == (six, replace(four, routes=(Route(4, "169.254.118.1", 32, "0.0.0.0"),)))  # noqa: S104  # no gateway


def test_guest_without_an_ipv4_address_has_no_resolver() -> None:
    network = GuestNetwork((Nic(0, "", 1500, (V6,)),), dns=("fd00::53",))
    assert with_resolver(network, "169.254.118.1") is network
