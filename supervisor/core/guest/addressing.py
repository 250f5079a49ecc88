"""Choose which of a container's addresses and routes a guest gets, according to `vtapd.address`.

A guest gets only what has no lifetime. Docker's own address comes first, because some kinds take only one. A gateway is
passed only if it is on the link of the address that it is passed with.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from supervisor.core.attach.lifetimes import static_addresses, why_not_static
from supervisor.core.container import Container, short_id
from supervisor.core.guest.spec import AddressPlan
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.network import GuestNetwork, Nic, format_route, is_on_link, why_no_address
from supervisor.core.links import Address, Interface, Route
from supervisor.core.record import Whereabouts

_MAIN_TABLE, _BY_KERNEL, _UNICAST = 254, 2, 1  # linux/rtnetlink.h: RT_TABLE_MAIN, RTPROT_KERNEL, RTN_UNICAST
_GLOBAL = 0  # linux/rtnetlink.h: RT_SCOPE_UNIVERSE
_ON_LINK = str(ipaddress.IPv4Address(0))
"""As a gateway it means that there is none, to Linux, ip(8), dracut and DHCP clients."""


def interfaces_of(cards: Sequence[tuple[Interface, str]], plan: AddressPlan) -> tuple[Interface, ...]:
    """Return each card's interface with the card's MAC. A static address of the guest is on the first one.

    `cards`: for each card its interface, as Docker made it, and its MAC.
    """
    if plan.takes_over:
        return tuple(original for original, _ in cards)
    bare = [replace(original, mac=mac, addresses=(), routes=()) for original, mac in cards]
    if plan.address is not None:
        routes = (Route(4, "", 0, plan.gateway),) if plan.gateway else ()
        bare[0] = replace(bare[0], addresses=(plan.address,), routes=routes)
    return tuple(bare)


def network_of(
    interfaces: Sequence[Interface], container: Container, names: Names, *, dhcp: bool = False
) -> GuestNetwork:
    """Return the network for a guest of this container with cards on these interfaces.

    Of each version of IP it has one gateway: the one that the kernel of the container used.
    """
    dockers = {_normal(ip): gateway for endpoint in container.endpoints for ip, _, gateway in endpoint.addresses}
    nics = [_nic(number, interface, dockers) for number, interface in enumerate(interfaces)]
    for family in (4, 6):
        nics = _with_one_gateway(nics, interfaces, family)
    return GuestNetwork(
        nics=tuple(nics),
        hostname=container.hostname,
        dns=names.servers,
        search=names.search,
        dhcp=dhcp,
        hostname_chosen=container.hostname != short_id(container.id),
        domain=container.domainname,
        hosts=container.extra_hosts,
    )


def with_resolver(network: GuestNetwork, resolver: str) -> GuestNetwork:
    """Return the network of a guest whose DNS queries are answered at this address of its container.

    It is the only server: resolvers that ask several at once, such as musl's, would take the answer of one that does
    not know the names of the container's network. A guest without a gateway needs a route to it, which has no gateway.
    """
    chosen = next((nic for nic in network.nics if nic.ipv4), None)
    if chosen is None:
        return network
    nics = network.nics
    if not any(nic.gateway4 for nic in nics):
        reaching = replace(chosen, routes=(*chosen.routes, Route(4, resolver, 32, _ON_LINK)))
        nics = tuple(reaching if nic is chosen else nic for nic in nics)
    return replace(network, nics=nics, dns=(resolver,), hosts=())


def _with_one_gateway(nics: Sequence[Nic], interfaces: Sequence[Interface], family: int) -> list[Nic]:
    """Return the cards with the gateway of this family on the card whose default route the kernel prefers."""
    able = [number for number, nic in enumerate(nics) if nic.gateway(family)]
    best = min(able, key=lambda number: _defaults(interfaces[number], family)[0].metric or 0, default=None)
    chosen = list(nics)
    for number in able:
        if best is not None and number != best:
            chosen[number] = _without_gateway(nics[number], nics[best], family)
    return chosen


def _without_gateway(nic: Nic, best: Nic, family: int) -> Nic:
    why = f"the guest is given {best.gateway(family)} of {best.container_name}"
    withheld = (*nic.withheld, f"gateway {nic.gateway(family)} of {nic.container_name}: {why}")
    if family == 4:
        return replace(nic, gateway4=None, withheld=withheld)
    return replace(nic, gateway6=None, withheld=withheld)


def _nic(number: int, interface: Interface, dockers: Mapping[str, str]) -> Nic:
    """Return one card. `dockers`: the addresses that Docker gave the container, each with Docker's gateway or ""."""
    addresses = sorted(static_addresses(interface), key=lambda address: address.ip not in dockers)
    routes = [route for route in interface.routes if _is_further(route)]
    withheld = [*_withheld_addresses(interface), *_withheld_routes(interface, routes)]
    gateways: dict[int, str | None] = {}
    for family in (4, 6):
        address = next((each for each in addresses if each.family == family), None)
        if address is not None:
            defaults = _defaults(interface, family)
            gateways[family] = _gateway_of(defaults, address, dockers.get(address.ip))
            withheld += _withheld_gateways(interface, defaults, address, gateways[family])
    return Nic(
        number,
        interface.mac,
        interface.mtu,
        tuple(addresses),
        gateways.get(4),
        gateways.get(6),
        tuple(route for route in routes if why_not_static(route) is None),
        interface.name,
        tuple(withheld),
    )


def _defaults(interface: Interface, family: int) -> list[Route]:
    """Return the default routes through a gateway. The first is the one that the kernel prefers."""
    found = [r for r in interface.routes if r.family == family and r.prefix == 0 and r.gateway and _is_plain(r)]
    return sorted(found, key=lambda route: route.metric or 0)


def _gateway_of(defaults: Sequence[Route], address: Address, dockers: str | None) -> str | None:
    """Return the gateway on this address's link: Docker's, or that of the best default route without a lifetime.

    Without a default route there is none: Docker names a gateway for each network, but uses only one of them.
    """
    stay = [route.gateway for route in defaults if why_not_static(route) is None]
    candidates = [dockers, *stay] if defaults else []
    return next((gateway for gateway in candidates if gateway and is_on_link(gateway, address)), None)


def _withheld_addresses(interface: Interface) -> Iterator[str]:
    for address in interface.addresses:
        if address.scope == _GLOBAL and (why := why_not_static(address)):
            yield f"address {address} of {interface.name}: {why}"


def _withheld_routes(interface: Interface, routes: Iterable[Route]) -> Iterator[str]:
    for route in routes:
        if why := why_not_static(route):
            yield f"{format_route(route, interface.name)}: {why}"


def _withheld_gateways(
    interface: Interface, defaults: Iterable[Route], address: Address, passed: str | None
) -> Iterator[str]:
    """Yield the default routes' gateways except the one that is passed with this address."""
    for gateway in dict.fromkeys(route.gateway for route in defaults):
        if gateway and gateway != passed:
            other = f"the guest is given {passed}" if passed else "its route has a lifetime"
            why = other if is_on_link(gateway, address) else f"it is not on the link of {address}"
            yield f"gateway {gateway} of {interface.name}: {why}"


def _is_plain(route: Route) -> bool:
    return route.table == _MAIN_TABLE and route.type == _UNICAST


def _is_further(route: Route) -> bool:
    """Return whether a route is neither a default route nor one that the kernel made for an address."""
    return _is_plain(route) and route.prefix > 0 and route.protocol != _BY_KERNEL


def _normal(ip: str) -> str:
    """Return Docker's form of an address in the form that netlink's addresses have here."""
    return str(ipaddress.ip_address(ip))


def whereabouts_of(network: GuestNetwork | None, ip_versions: Collection[int]) -> Whereabouts | None:
    """Return where a guest with this network can be probed, or None if that is unknown.

    `ip_versions`: the IP versions whose addresses it gets. An address of the lowest version is used.
    """
    for nic in network.nics if network else ():
        for family in sorted(ip_versions):
            for address in nic.of_family(family)[:1]:
                return Whereabouts(address.ip, nic.mac, nic.container_name, nic.gateway(family))
    return None


def notes_on_others(others: Iterable[Interface], ip_versions: Sequence[int]) -> tuple[str, ...]:
    """Return a sentence for each interface on which a guest has no card.

    `ip_versions`: the IP versions of which a card needs an address; empty if it needs none.
    """
    return tuple(
        f"The guest has no card on {each.name}, which stays with the container: {_why_no_card(each, ip_versions)}."
        for each in others
    )


def _why_no_card(interface: Interface, ip_versions: Sequence[int]) -> str:
    if ip_versions and not any(static_addresses(interface, ip_versions)):
        return f"it has {why_no_address(ip_versions)}"
    return "a guest of this kind can be given no more cards"
