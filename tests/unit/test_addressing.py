"""Whose addresses a guest is told of."""

from dataclasses import replace

from supervisor.core.actions import Uplink
from supervisor.core.addressing import interfaces_of, whereabouts_of
from supervisor.core.model import Address, Route, Whereabouts
from supervisor.core.spec import AddressPlan

from .things import ETH0, ETH1, TAP0

OWN = Address(4, "172.17.0.200", 16, "172.17.255.255")
TAP1 = replace(TAP0, name="vtap120005", mac="5e:00:00:00:00:02")
UPLINKS = (Uplink(ETH0, TAP0, 0), Uplink(ETH1, TAP1, 1))
BARE = (
    replace(ETH0, mac=TAP0.mac, addresses=(), routes=()),
    replace(ETH1, mac=TAP1.mac, addresses=(), routes=()),
)


def test_the_containers_own() -> None:
    assert interfaces_of(UPLINKS, AddressPlan()) == (ETH0, ETH1)


def test_one_of_its_own_is_on_the_first_card() -> None:
    told = interfaces_of(UPLINKS, AddressPlan("static", OWN, "172.17.0.1"))
    assert told == (replace(BARE[0], addresses=(OWN,), routes=(Route(4, "", 0, "172.17.0.1"),)), BARE[1])
    assert told[0].gateway() == "172.17.0.1"
    assert interfaces_of(UPLINKS, AddressPlan("static", OWN))[0].routes == ()


def test_none_but_the_cards_own_macs() -> None:
    assert interfaces_of(UPLINKS, AddressPlan("dhcp")) == BARE


def test_where_it_can_be_asked() -> None:
    ipv6 = replace(ETH0, addresses=(Address(6, "fe80::2", 64, scope=253), Address(6, "2001:db8::2", 64)))
    assert whereabouts_of([ETH0, ETH1]) == Whereabouts("172.17.0.2", ETH0.mac, "eth0", "172.17.0.1")
    assert whereabouts_of([BARE[0], ETH1]) == Whereabouts("172.18.0.5", ETH1.mac, "eth1")
    assert whereabouts_of([ipv6, ETH1]) == Whereabouts("2001:db8::2", ETH0.mac, "eth0")
    assert whereabouts_of(BARE) is None
