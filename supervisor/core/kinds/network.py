"""The network of a guest, as a value. Each kind passes on the parts that its format can carry.

A part that the format cannot carry is left out, and the notes of the kind's Boot name it. Only a guest that would have
no usable address at all is refused.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.links import Address, Route
from supervisor.errors import Rejected, Step


@dataclass(frozen=True, slots=True)
class Nic:
    """One network card of the guest."""

    index: int
    """N of ethN, vioifN, en<N + 1>: kinds number their cards in QEMU's order."""
    mac: str
    mtu: int
    addresses: tuple[Address, ...] = ()
    """Addresses that the guest can keep: of global scope, of both IP versions, Docker's own first."""
    gateway4: str | None = None
    gateway6: str | None = None
    """Both are on the link of the first address of their family."""
    routes: tuple[Route, ...] = ()
    """Routes other than default routes and those of the addresses' networks; one without gateway is on-link."""
    interface: str = ""
    """The container's name for it; empty if the guest has the same name."""
    withheld: tuple[str, ...] = ()
    """Parts of it that no guest gets, each with the reason."""

    @property
    def name(self) -> str:
        """The name of it in a guest that numbers its cards from eth0."""
        return f"eth{self.index}"

    @property
    def container_name(self) -> str:
        """The name of it in the container."""
        return self.interface or self.name

    def of_family(self, family: int) -> tuple[Address, ...]:
        """Return its IPv4 (4) or IPv6 (6) addresses."""
        return tuple(address for address in self.addresses if address.family == family)

    @property
    def ipv4(self) -> Address | None:
        """The IPv4 address for a kind that takes one."""
        return next(iter(self.of_family(4)), None)

    @property
    def ipv6(self) -> Address | None:
        """The IPv6 address for a kind that takes one."""
        return next(iter(self.of_family(6)), None)

    def gateway(self, family: int) -> str | None:
        """Return its IPv4 (4) or IPv6 (6) gateway."""
        return self.gateway4 if family == 4 else self.gateway6


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    """The whole network of a guest."""

    nics: tuple[Nic, ...]
    hostname: str = ""
    dns: tuple[str, ...] = ()
    """Servers that the guest can reach; Docker's own on 127.0.0.11 is not one."""
    search: str = ""
    """The domain that short names are completed with."""
    dhcp: bool = False
    """Whether the guest gets its addresses by DHCP."""
    hostname_chosen: bool = False
    """Whether the operator chose the host name. Docker's default is the container's short id."""
    domain: str = ""
    """`docker run --domainname`."""
    hosts: tuple[str, ...] = ()
    """`docker run --add-host`, each as NAME:ADDRESS."""


@dataclass(frozen=True, slots=True)
class Room:
    """Which parts of a network a kind's format can carry."""

    ipv6: bool = False
    dns: int = 0
    routes: bool = False
    """Whether it carries routes through a gateway."""
    hostname: re.Pattern[str] | None = None
    """The form of a host name that it carries; None if it carries none."""
    domain: re.Pattern[str] | None = None
    """The same for a domain name."""
    search: bool = False
    """The search domain is passed in place of a domain name."""

    @property
    def ip_versions(self) -> tuple[int, ...]:
        """The IP versions whose addresses it carries."""
        return (4, 6) if self.ipv6 else (4,)

    def has_for(self, nic: Nic) -> bool:
        """Return whether it carries one of the card's addresses."""
        return any(nic.of_family(version) for version in self.ip_versions)

    def dns_of(self, network: GuestNetwork) -> tuple[str, ...]:
        """Return the DNS servers that the guest gets, of the IP versions that it gets."""
        return tuple(server for server in network.dns if self.ipv6 or ":" not in server)[: self.dns]

    def hostname_of(self, network: GuestNetwork) -> str:
        """Return the host name that the guest gets; empty for none."""
        return network.hostname if self.hostname and self.hostname.fullmatch(network.hostname) else ""

    def domain_of(self, network: GuestNetwork) -> str:
        """Return the domain name that the guest gets; empty for none."""
        found = network.domain or (network.search if self.search else "")
        return found if self.domain and self.domain.fullmatch(found) else ""


def usable_nics(network: GuestNetwork, room: Room) -> tuple[Nic, ...]:
    """Return the cards with an address that the guest can get. `left_out` names the others.

    A guest that uses DHCP needs no address. Raises Rejected if no card is left.
    """
    found = network.nics if network.dhcp else tuple(nic for nic in network.nics if room.has_for(nic))
    if not found:
        raise no_address([nic.container_name for nic in network.nics], room.ip_versions)
    return found


def no_address(interfaces: Sequence[str], ip_versions: Sequence[int]) -> Rejected:
    """Return the error to raise for a guest that can get none of these interfaces' addresses."""
    have = "has" if len(interfaces) == 1 else "have"
    return Rejected(
        f"label vtapd.address=takeover is refused: {' and '.join(interfaces)} {have} {why_no_address(ip_versions)}",
        step=Step.TAKEOVER,
        remedy=f"put the container on a network with {_either(ip_versions)}, or set vtapd.address=none",
    )


def why_no_address(ip_versions: Sequence[int]) -> str:
    """Describe an interface without an address for a guest that can get only these IP versions: "no IPv4 address …"."""
    return f"no {_either(ip_versions)} address that the guest could have for good"


def _either(ip_versions: Sequence[int]) -> str:
    return " or ".join(f"IPv{version}" for version in ip_versions)


def netmask_of(address: Address) -> str:
    """Return the netmask: 255.255.0.0 for /16."""
    return str(ipaddress.ip_network(f"0.0.0.0/{address.prefix}").netmask)


def left_out(network: GuestNetwork, room: Room) -> tuple[str, ...]:
    """Return one sentence for each part that the guest does not get."""
    if network.dhcp:
        return names_left_out(network, room)
    passed = room.dns_of(network)
    servers = (f"DNS server {each}" for each in network.dns if each not in passed)
    return (*map(_sentence, (*_parts_left_out(network, room), *servers)), *names_left_out(network, room))


NO_ROOM = Room()
"""For a guest whose kind carries no names."""


def names_left_out(network: GuestNetwork, room: Room = NO_ROOM) -> tuple[str, ...]:
    """Return one sentence for each name that the guest does not get."""
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
            yield f"{nic.container_name}: it has {why_no_address(room.ip_versions)}"
        yield from nic.withheld


def _parts_of(nic: Nic, room: Room) -> Iterator[str]:
    more = (*nic.of_family(4)[1:], *nic.of_family(6)[1 if room.ipv6 else 0 :])
    yield from (f"address {address} of {nic.container_name}" for address in more)
    for route in nic.routes:
        if not (room.routes and route.gateway and route.family in room.ip_versions):
            yield format_route(route, nic.container_name)


def format_route(route: Route, interface: str) -> str:
    """Return how notes show a route of this interface."""
    way = f"via {route.gateway}" if route.gateway else "on-link"
    return f"route {route.destination}/{route.prefix} {way} of {interface}"


def is_on_link(gateway: str, address: Address) -> bool:
    """Return whether the address reaches the gateway without another gateway."""
    there = ipaddress.ip_address(gateway)
    return there.is_link_local or there in ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
