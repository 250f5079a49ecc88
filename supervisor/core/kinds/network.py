"""The network that a guest is to have, as a pure value; each kind says what of it its format can carry.

A part of the network is better than no guest: what a kind cannot be given is left out, and the notes of its Boot say
so. Only a guest that would have no usable address at all is refused.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.model import Address, Route
from supervisor.errors import Rejected, Step


@dataclass(frozen=True, slots=True)
class Nic:
    """One of the guest's cards."""

    index: int
    """N of ethN, vioifN, en<N + 1>: kinds count their cards in the order in which QEMU has them."""
    mac: str
    mtu: int
    addresses: tuple[Address, ...] = ()
    """Those that the guest can keep: of global scope, both families, Docker's own first."""
    gateway4: str | None = None
    gateway6: str | None = None
    """Both are on the link of the first address of their family."""
    routes: tuple[Route, ...] = ()
    """Beyond the default ones and those that addresses bring; one without gateway is on-link."""
    interface: str = ""
    """The container's name for it; empty if that is the guest's too."""
    withheld: tuple[str, ...] = ()
    """What of it no guest is given, each with the reason."""

    @property
    def name(self) -> str:
        """As a guest calls it that counts its cards from eth0."""
        return f"eth{self.index}"

    @property
    def container_name(self) -> str:
        """As the container calls it."""
        return self.interface or self.name

    def of_family(self, family: int) -> tuple[Address, ...]:
        """Its IPv4 (4) or IPv6 (6) addresses."""
        return tuple(address for address in self.addresses if address.family == family)

    @property
    def ipv4(self) -> Address | None:
        """The IPv4 address that a kind with room for one is given."""
        return next(iter(self.of_family(4)), None)

    @property
    def ipv6(self) -> Address | None:
        """Likewise the IPv6 address."""
        return next(iter(self.of_family(6)), None)

    def gateway(self, family: int) -> str | None:
        """Its IPv4 (4) or IPv6 (6) gateway."""
        return self.gateway4 if family == 4 else self.gateway6


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    """All of a guest's network."""

    nics: tuple[Nic, ...]
    hostname: str = ""
    dns: tuple[str, ...] = ()
    """Servers that the guest can reach; Docker's own on 127.0.0.11 is not one."""
    search: str = ""
    """The domain that short names are completed with."""
    dhcp: bool = False
    """The guest is to ask for its addresses."""
    hostname_chosen: bool = False
    """The operator gave the host name; Docker's own is the container's short id."""
    domain: str = ""
    """`docker run --domainname`."""
    hosts: tuple[str, ...] = ()
    """`docker run --add-host`, each as NAME:ADDRESS."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a network a kind's format has room for."""

    ipv6: bool = False
    dns: int = 0
    routes: bool = False
    """Those through a gateway."""
    hostname: re.Pattern[str] | None = None
    """What a host name must be like, None where the format has no word for one."""
    domain: re.Pattern[str] | None = None
    """Likewise the domain name."""
    search: bool = False
    """The search domain is passed in place of a domain name."""

    @property
    def ip_versions(self) -> tuple[int, ...]:
        """Of which versions of IP it carries an address."""
        return (4, 6) if self.ipv6 else (4,)

    def has_for(self, nic: Nic) -> bool:
        """Whether it carries one of the card's addresses."""
        return any(nic.of_family(version) for version in self.ip_versions)

    def dns_of(self, network: GuestNetwork) -> tuple[str, ...]:
        """The servers that the guest is given, of the versions of IP that it is given."""
        return tuple(server for server in network.dns if self.ipv6 or ":" not in server)[: self.dns]

    def hostname_of(self, network: GuestNetwork) -> str:
        """The host name that the guest is given, empty for none."""
        return network.hostname if self.hostname and self.hostname.fullmatch(network.hostname) else ""

    def domain_of(self, network: GuestNetwork) -> str:
        """The domain name that the guest is given, empty for none."""
        found = network.domain or (network.search if self.search else "")
        return found if self.domain and self.domain.fullmatch(found) else ""


def sayable(network: GuestNetwork, room: Room) -> tuple[Nic, ...]:
    """Return the cards of which a guest with this much room can be given an address; `left_out` names the others.

    A guest that asks DHCP needs no address. Raises Rejected if no card is left.
    """
    found = network.nics if network.dhcp else tuple(nic for nic in network.nics if room.has_for(nic))
    if not found:
        raise no_address([nic.container_name for nic in network.nics], room.ip_versions)
    return found


def no_address(interfaces: Sequence[str], ip_versions: Sequence[int]) -> Rejected:
    """Return the error to raise for a guest that can be given none of these interfaces' addresses."""
    have = "has" if len(interfaces) == 1 else "have"
    return Rejected(
        f"label vtapd.address=takeover is refused: {' and '.join(interfaces)} {have} {why_unsayable(ip_versions)}",
        step=Step.TAKEOVER,
        remedy=f"put the container on a network with {_spell(ip_versions)}, or set vtapd.address=none",
    )


def why_unsayable(ip_versions: Sequence[int]) -> str:
    """Return in words what an interface lacks for a guest that can be given only these versions of IP."""
    return f"no {_spell(ip_versions)} address that the guest could have for good"


def _spell(ip_versions: Sequence[int]) -> str:
    return " or ".join(f"IPv{version}" for version in ip_versions)


def netmask_of(address: Address) -> str:
    """255.255.0.0 for /16."""
    return str(ipaddress.ip_network(f"0.0.0.0/{address.prefix}").netmask)


def left_out(network: GuestNetwork, room: Room) -> tuple[str, ...]:
    """Return what a guest with this much room is not given, a sentence each."""
    if network.dhcp:
        return names_left_out(network, room)
    passed = room.dns_of(network)
    servers = (f"DNS server {each}" for each in network.dns if each not in passed)
    return (*map(_sentence, (*_parts_left_out(network, room), *servers)), *names_left_out(network, room))


NO_ROOM = Room()
"""For a guest whose kind has no word for any name."""


def names_left_out(network: GuestNetwork, room: Room = NO_ROOM) -> tuple[str, ...]:
    """Return which names a guest with this much room is not given, a sentence each."""
    return tuple(map(_sentence, _names_left_out(network, room)))


def _sentence(part: str) -> str:
    return f"Not passed to the guest: {part}."


def _names_left_out(network: GuestNetwork, room: Room) -> Iterator[str]:
    if network.hostname_chosen and network.hostname and not room.hostname_of(network):
        yield f"host name {network.hostname}"
    domain = room.domain_of(network)
    if network.domain and network.domain != domain:
        yield f"domain name {network.domain}"
    if network.search and not network.dhcp and network.search != domain:
        yield f"search domain {network.search}"
    yield from (f"host {each} (docker run --add-host)" for each in network.hosts)


def _parts_left_out(network: GuestNetwork, room: Room) -> Iterator[str]:
    for nic in network.nics:
        if room.has_for(nic):
            yield from _parts_of(nic, room)
        else:
            yield f"{nic.container_name}: it has {why_unsayable(room.ip_versions)}"
        yield from nic.withheld


def _parts_of(nic: Nic, room: Room) -> Iterator[str]:
    more = (*nic.of_family(4)[1:], *nic.of_family(6)[1 if room.ipv6 else 0 :])
    yield from (f"address {address} of {nic.container_name}" for address in more)
    for route in nic.routes:
        if not (room.routes and route.gateway and route.family in room.ip_versions):
            yield spell_route(route, nic.container_name)


def spell_route(route: Route, interface: str) -> str:
    """Return the words that notes have for a route of this interface."""
    way = f"via {route.gateway}" if route.gateway else "on-link"
    return f"route {route.destination}/{route.prefix} {way} of {interface}"


def is_on_link(gateway: str, address: Address) -> bool:
    """Return whether the address reaches the gateway without another gateway."""
    there = ipaddress.ip_address(gateway)
    return there.is_link_local or there in ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
