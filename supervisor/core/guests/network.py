"""The network that a guest is to have, as a pure value; each kind says what of it its format can carry.

What Docker gave the container must not fail it where a part will do: what a kind cannot be told is left out, and its
Boot's notes say so. Only a guest that would have no usable address at all is refused.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.guests.refusal import refused
from supervisor.core.model import Address, Route
from supervisor.errors import Rejected


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
    """What no kind of guest is told of it, each with the reason."""

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

    def gateway(self, family: int) -> str | None:
        """Its IPv4 (4) or IPv6 (6) gateway."""
        return self.gateway4 if family == 4 else self.gateway6

    @property
    def reachable_gateway6(self) -> str | None:
        """The IPv6 gateway, unless no address of the card has it on its link."""
        on_link = self.gateway6 and any(is_on_link(self.gateway6, each) for each in self.of_family(6))
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


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a network a kind's format has room for."""

    nics: int = 1
    ipv6: bool = False
    dns: int = 0
    routes: bool = False
    """Those through a gateway."""

    @property
    def ip_versions(self) -> tuple[int, ...]:
        """Of which versions of IP it carries an address."""
        return (4, 6) if self.ipv6 else (4,)

    def has_for(self, nic: Nic) -> bool:
        """Whether it carries one of the card's addresses."""
        return any(nic.of_family(version) for version in self.ip_versions)

    def dns_of(self, network: GuestNetwork) -> tuple[str, ...]:
        """The servers that the guest is told of, of a family that it is told of."""
        return tuple(server for server in network.dns if self.ipv6 or ":" not in server)[: self.dns]


def sayable(network: GuestNetwork, room: Room) -> tuple[Nic, ...]:
    """Return the cards that a guest with this much room can be told an address of; `left_out` names the others.

    A guest that asks DHCP needs no address. Raises Rejected if no card is left.
    """
    cards = network.nics[: room.nics]
    found = cards if network.dhcp else tuple(nic for nic in cards if room.has_for(nic))
    if not found:
        raise no_address([nic.container_name for nic in cards], room.ip_versions)
    return found


def no_address(interfaces: Sequence[str], ip_versions: Sequence[int]) -> Rejected:
    """Return the refusal of a guest which can be told none of these interfaces' addresses, for the caller to raise."""
    have = "has" if len(interfaces) == 1 else "have"
    return Rejected(
        f"label vtapd.address=takeover is refused: {' and '.join(interfaces)} {have} {why_unsayable(ip_versions)}",
        step="takeover",
        remedy=f"put the container on a network with {_spell(ip_versions)}, or set vtapd.address=none",
    )


def why_unsayable(ip_versions: Sequence[int]) -> str:
    """Return what an interface has that has no address for a guest which can be told only these versions of IP."""
    return f"no {_spell(ip_versions)} address that the guest could have for good"


def _spell(ip_versions: Sequence[int]) -> str:
    return " or ".join(f"IPv{version}" for version in ip_versions)


def ipv4_of(nic: Nic) -> Address:
    """The card's IPv4 address, whose link its gateway is on. Raises Rejected where there is none or it is not."""
    address = next(iter(nic.of_family(4)), None)
    if address is None:
        raise no_address([nic.container_name], (4,))
    if nic.gateway4 and not is_on_link(nic.gateway4, address):
        said = f"a gateway on the link: {nic.gateway4} is not in {nic.name}'s {address}"
        raise refused("vtapd.address", "takeover", said, step="takeover")
    return address


def netmask_of(address: Address) -> str:
    """255.255.0.0 for /16."""
    return str(ipaddress.ip_network(f"0.0.0.0/{address.prefix}").netmask)


def left_out(network: GuestNetwork, room: Room) -> tuple[str, ...]:
    """What a guest with this much room is not told, a sentence each."""
    told = room.dns_of(network)
    parts = (*_parts_left_out(network, room), *(f"DNS server {each}" for each in network.dns if each not in told))
    return tuple(f"The guest is not told of {part}." for part in parts)


def _parts_left_out(network: GuestNetwork, room: Room) -> Iterator[str]:
    for nic in network.nics[room.nics :]:
        yield nic.container_name
    for nic in network.nics[: room.nics]:
        if room.has_for(nic):
            yield from _parts_of(nic, room)
        else:
            yield f"{nic.container_name}: it has {why_unsayable(room.ip_versions)}"
        yield from nic.withheld


def _parts_of(nic: Nic, room: Room) -> Iterator[str]:
    more = (*nic.of_family(4)[1:], *nic.of_family(6)[1 if room.ipv6 else 0 :])
    yield from (f"address {address} of {nic.container_name}" for address in more)
    if room.ipv6 and nic.gateway6 != nic.reachable_gateway6:
        yield f"gateway {nic.gateway6} of {nic.container_name}, which is on no link of its"
    for route in nic.routes:
        if not (room.routes and route.gateway and route.family in room.ip_versions):
            yield spell_route(route, nic.container_name)


def spell_route(route: Route, interface: str) -> str:
    """Return the words that notes have for a route of this interface."""
    way = f"via {route.gateway}" if route.gateway else "on-link"
    return f"route {route.destination}/{route.prefix} {way} of {interface}"


def is_on_link(gateway: str, address: Address) -> bool:
    """Return whether the address reaches the gateway without another gateway."""
    return ipaddress.ip_address(gateway) in ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
