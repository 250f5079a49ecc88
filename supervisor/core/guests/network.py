"""The network that a guest is to have, as a pure value; each kind says what of it its format can carry.

What Docker gave the container must not fail it where a part will do: what a kind cannot be told is left out, and its
Boot's notes say so. Only a guest that would have no usable address at all is refused.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.guests.refusal import refused
from supervisor.core.model import Address, Container, Interface, Route, short_id
from supervisor.core.names import Names
from supervisor.errors import Rejected

_MAIN_TABLE, _BY_KERNEL, _UNICAST = 254, 2, 1  # linux/rtnetlink.h: RT_TABLE_MAIN, RTPROT_KERNEL, RTN_UNICAST


@dataclass(frozen=True, slots=True)
class Nic:
    """One of the guest's cards."""

    index: int
    """N of ethN, vioifN, en<N + 1>: kinds count their cards in the order in which QEMU has them."""
    mac: str
    mtu: int
    addresses: tuple[Address, ...] = ()
    """Of global scope, both families."""
    gateway4: str | None = None
    gateway6: str | None = None
    routes: tuple[Route, ...] = ()
    """Beyond the default ones and those that addresses bring; one without gateway is on-link."""

    @property
    def name(self) -> str:
        """As the container calls it."""
        return f"eth{self.index}"

    def of_family(self, family: int) -> tuple[Address, ...]:
        """Its IPv4 (4) or IPv6 (6) addresses."""
        return tuple(address for address in self.addresses if address.family == family)

    @property
    def reachable_gateway6(self) -> str | None:
        """The IPv6 gateway, unless no address of the card has it on its link."""
        on_link = self.gateway6 and any(_is_on_link(self.gateway6, each) for each in self.of_family(6))
        return self.gateway6 if on_link else None


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
    """Somebody gave the host name; Docker's own is the container's short id."""
    domain: str = ""
    """`docker run --domainname`."""
    hosts: tuple[str, ...] = ()
    """`docker run --add-host`, each as NAME:ADDRESS."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a network a kind's format has room for."""

    nics: int = 1
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

    def dns_of(self, network: GuestNetwork) -> tuple[str, ...]:
        """The servers that the guest is told of, of a family that it is told of."""
        return tuple(server for server in network.dns if self.ipv6 or ":" not in server)[: self.dns]

    def hostname_of(self, network: GuestNetwork) -> str:
        """The host name that the guest is given, empty for none."""
        return network.hostname if self.hostname and self.hostname.fullmatch(network.hostname) else ""

    def domain_of(self, network: GuestNetwork) -> str:
        """The domain name that the guest is given, empty for none."""
        found = network.domain or (network.search if self.search else "")
        return found if self.domain and self.domain.fullmatch(found) else ""


def network_of(
    interfaces: Sequence[Interface], container: Container, names: Names, *, dhcp: bool = False
) -> GuestNetwork:
    """Return what a guest of this container is given whose cards are on these interfaces."""
    return GuestNetwork(
        nics=tuple(_nic(number, interface) for number, interface in enumerate(interfaces)),
        hostname=container.hostname,
        dns=names.servers,
        search=names.search,
        dhcp=dhcp,
        hostname_chosen=container.hostname != short_id(container.id),
        domain=container.domainname,
        hosts=container.extra_hosts,
    )


def _nic(number: int, interface: Interface) -> Nic:
    addresses = tuple(address for address in interface.addresses if address.scope == 0)
    routes = tuple(route for route in interface.routes if _is_of_its_own(route))
    return Nic(number, interface.mac, interface.mtu, addresses, interface.gateway(4), interface.gateway(6), routes)


def _is_of_its_own(route: Route) -> bool:
    """Neither the default route nor one that the kernel made for an address."""
    plain = route.table == _MAIN_TABLE and route.type == _UNICAST
    return plain and route.prefix > 0 and route.protocol != _BY_KERNEL


def ipv4_of(nic: Nic) -> Address:
    """The card's IPv4 address, whose link its gateway is on. Raises Rejected where there is none or it is not."""
    address = next(iter(nic.of_family(4)), None)
    if address is None:
        raise Rejected(
            f"label vtapd.address=takeover is refused: {nic.name} has no IPv4 address that the guest could have",
            step="takeover",
            remedy="put the container on a network with IPv4",
        )
    if nic.gateway4 and not _is_on_link(nic.gateway4, address):
        said = f"a gateway on the link: {nic.gateway4} is not in {nic.name}'s {address}"
        raise refused("vtapd.address", "takeover", said, step="takeover")
    return address


def netmask_of(address: Address) -> str:
    """255.255.0.0 for /16."""
    return str(ipaddress.ip_network(f"0.0.0.0/{address.prefix}").netmask)


def left_out(network: GuestNetwork, room: Room) -> tuple[str, ...]:
    """Return what a guest with this much room is not given, a sentence each."""
    parts = list(_names_left_out(network, room))
    if not network.dhcp:
        passed = room.dns_of(network)
        parts = [
            *_parts_left_out(network, room),
            *(f"DNS server {each}" for each in network.dns if each not in passed),
            *parts,
        ]
    return tuple(f"Not passed to the guest: {part}." for part in parts)


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
    for nic in network.nics[room.nics :]:
        yield nic.name
    for nic in network.nics[: room.nics]:
        more = (*nic.of_family(4)[1:], *nic.of_family(6)[1 if room.ipv6 else 0 :])
        yield from (f"address {address} of {nic.name}" for address in more)
        if room.ipv6 and nic.gateway6 != nic.reachable_gateway6:
            yield f"gateway {nic.gateway6} of {nic.name}, which is on no link of its"
        for route in nic.routes:
            if room.routes and route.gateway and (room.ipv6 or route.family == 4):
                continue
            way = f"via {route.gateway}" if route.gateway else "on-link"
            yield f"route {route.destination}/{route.prefix} {way} of {nic.name}"


def _is_on_link(gateway: str, address: Address) -> bool:
    return ipaddress.ip_address(gateway) in ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
