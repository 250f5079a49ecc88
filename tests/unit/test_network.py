"""What a guest's network is made of, and what is said of the parts that its kind cannot be told."""

from dataclasses import replace

import pytest

from supervisor.core.guests.network import GuestNetwork, Room, ipv4_of, left_out, netmask_of, network_of
from supervisor.core.model import Address, Route
from supervisor.core.names import Names
from supervisor.errors import Rejected

from .things import BOTH_FAMILIES, ETH0, ID, NETWORK, NIC, NIC1, OFF_LINK, ONLY_IPV6, container


def test_the_network_is_what_the_interface_had() -> None:
    network = network_of([ETH0], container(hostname="kek"), Names(("192.0.2.53",), "lan"))
    (nic,) = network.nics
    assert (nic.name, nic.mac, nic.mtu, nic.gateway4, nic.gateway6) == ("eth0", ETH0.mac, 1500, "172.17.0.1", None)
    assert (nic.addresses, nic.routes, network.hostname) == (ETH0.addresses, (), "kek")
    assert (network.dns, network.search, network.dhcp) == (("192.0.2.53",), "lan", False)


def test_names_that_somebody_gave_are_known_from_dockers_own() -> None:
    given = container(hostname="kek", domainname="example.com", extra_hosts=("db:10.0.0.5",))
    network = network_of([ETH0], given, Names())
    assert (network.hostname_chosen, network.domain, network.hosts) == (True, "example.com", ("db:10.0.0.5",))
    assert not network_of([ETH0], container(hostname=ID[:12]), Names()).hostname_chosen
    assert left_out(replace(network, hostname="", dhcp=True), Room()) == (
        "Not passed to the guest: domain name example.com.",
        "Not passed to the guest: host db:10.0.0.5 (docker run --add-host).",
    )


def test_both_families_are_taken_and_the_kernels_own_is_not() -> None:
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
    assert (nic.gateway6, nic.reachable_gateway6) == ("2001:db8::1", "2001:db8::1")
    assert nic.routes == (on_link, via)


def test_a_card_has_an_address_with_its_gateway_on_link() -> None:
    assert str(ipv4_of(NIC)) == "172.17.0.2/16"
    assert netmask_of(ipv4_of(NIC)) == "255.255.0.0"
    assert str(ipv4_of(NIC1)) == "172.18.0.5/24"


@pytest.mark.parametrize(
    ("network", "said"),
    [(ONLY_IPV6, "eth0 has no IPv4 address"), (OFF_LINK, "192.0.2.1 is not in eth0's 172.17.0.2/16")],
)
def test_a_card_without_one_is_refused_by_the_labels_name(network: GuestNetwork, said: str) -> None:
    with pytest.raises(Rejected) as caught:
        ipv4_of(network.nics[0])
    assert "vtapd.address" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.step == "takeover"


def test_nothing_is_said_of_a_network_that_fits() -> None:
    assert left_out(NETWORK, Room()) == ()
    assert left_out(BOTH_FAMILIES, Room(ipv6=True)) == ()
    assert left_out(GuestNetwork((NIC, NIC1), dns=("192.0.2.53",)), Room(nics=2, dns=1)) == ()


def test_everything_that_does_not_fit_is_named() -> None:
    more = (Address(4, "172.17.0.3", 16), Address(6, "2001:db8::2", 64), Address(6, "2001:db8::3", 64))
    routes = (Route(4, "192.0.2.1", 32), Route(6, "2001:db8:1::", 48, "2001:db8::9"))
    nic = replace(NIC, addresses=(*NIC.addresses, *more), routes=routes, gateway6="fe80::1")
    network = GuestNetwork((nic, NIC1), dns=("2001:db8::53", "192.0.2.53", "192.0.2.54"))
    assert [note.removeprefix("Not passed to the guest: ") for note in left_out(network, Room(ipv6=True, dns=1))] == [
        "eth1.",
        "address 172.17.0.3/16 of eth0.",
        "address 2001:db8::3/64 of eth0.",
        "gateway fe80::1 of eth0, which is on no link of its.",
        "route 192.0.2.1/32 on-link of eth0.",
        "route 2001:db8:1::/48 via 2001:db8::9 of eth0.",
        "DNS server 192.0.2.53.",
        "DNS server 192.0.2.54.",
    ]
    assert Room(dns=1).dns_of(network) == ("192.0.2.53",)
