"""The network configuration of a guest, and the notes about parts that its kind cannot be given."""

from dataclasses import replace

import pytest

from supervisor.core.kinds.network import GuestNetwork, Room, left_out, netmask_of, usable_nics
from supervisor.core.links import Address, Route
from supervisor.errors import Rejected

from .examples import BOTH_FAMILIES, NETWORK, NIC, NIC1, ONLY_IPV6


def test_first_address_of_each_family_is_used() -> None:
    assert (str(NIC.ipv4), NIC.ipv6) == ("172.17.0.2/16", None)
    assert str(BOTH_FAMILIES.nics[0].ipv6) == "2001:db8::2/64"
    assert netmask_of(NIC.addresses[0]) == "255.255.0.0"


def test_network_that_fits_has_no_notes() -> None:
    assert left_out(NETWORK, Room()) == ()
    assert left_out(BOTH_FAMILIES, Room(ipv6=True)) == ()
    assert left_out(GuestNetwork((NIC, NIC1), dns=("192.0.2.53",)), Room(dns=1)) == ()


def test_everything_that_does_not_fit_is_noted() -> None:
    more = (Address(4, "172.17.0.3", 16), Address(6, "2001:db8::2", 64), Address(6, "2001:db8::3", 64))
    routes = (Route(4, "192.0.2.1", 32), Route(6, "2001:db8:1::", 48, "2001:db8::9"))
    nic = replace(NIC, addresses=(*NIC.addresses, *more), routes=routes)
    network = GuestNetwork((nic,), dns=("2001:db8::53", "192.0.2.53", "192.0.2.54"))
    assert [note.removeprefix("Not passed to the guest: ") for note in left_out(network, Room(ipv6=True, dns=1))] == [
        "address 172.17.0.3/16 of eth0.",
        "address 2001:db8::3/64 of eth0.",
        "route 192.0.2.1/32 on-link of eth0.",
        "route 2001:db8:1::/48 via 2001:db8::9 of eth0.",
        "DNS server 192.0.2.53.",
        "DNS server 192.0.2.54.",
    ]
    assert Room(dns=1).dns_of(network) == ("192.0.2.53",)


MORE = GuestNetwork((NIC, replace(NIC1, addresses=(Address(6, "2001:db8::5", 64),), interface="wan0")))


def test_card_without_a_usable_address_is_left_out_with_a_note() -> None:
    assert usable_nics(MORE, Room()) == MORE.nics[:1]
    assert left_out(MORE, Room()) == (
        "Not passed to the guest: wan0: it has no IPv4 address that the guest could have for good.",
    )
    assert usable_nics(MORE, Room(ipv6=True)) == MORE.nics
    assert left_out(MORE, Room(ipv6=True)) == ()


def test_guest_without_any_card_is_refused() -> None:
    assert usable_nics(ONLY_IPV6, Room(ipv6=True)) == ONLY_IPV6.nics
    with pytest.raises(Rejected, match=r"eth0 has no IPv4 address that the guest could have for good") as caught:
        usable_nics(ONLY_IPV6, Room())
    assert caught.value.step == "takeover"
    bare = GuestNetwork((replace(NIC, addresses=()), replace(NIC1, addresses=())))
    with pytest.raises(Rejected, match=r"eth0 and eth1 have no IPv4 or IPv6 address"):
        usable_nics(bare, Room(ipv6=True))
    assert usable_nics(replace(bare, dhcp=True), Room()) == bare.nics


def test_withheld_address_is_noted_with_its_reason() -> None:
    nic = replace(NIC, withheld=("address 2001:db8::9/64 of eth0: it is deprecated",))
    notes = ("Not passed to the guest: address 2001:db8::9/64 of eth0: it is deprecated.",)
    assert left_out(GuestNetwork((nic,)), Room()) == notes
