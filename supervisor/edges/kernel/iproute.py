"""The addresses, routes and neighbours of the interfaces of one network namespace: observed and restored by rtnetlink.

Each is restored by the message in which the kernel showed it, so that nothing is lost that has no field in the model.
"""

import errno
from collections.abc import Collection, Iterable, Iterator

from supervisor.core.attach.gateways import REACH_PROTOCOL, route_to
from supervisor.core.attach.lifetimes import Lifetime, lifetime_left
from supervisor.core.attach.private_link import LINK_PROTOCOL
from supervisor.core.formats.rtnetlink import Kind, ip_version
from supervisor.core.formats.rtnetlink_addresses import add_address, oldest_first, parse_address
from supervisor.core.formats.rtnetlink_neighbours import add_neighbour, parse_neighbour
from supervisor.core.formats.rtnetlink_routes import add_route, parse_route, remove_route, replace_route, routes_of
from supervisor.core.links import Address, GuestWay, IfIndex, Interface, Link, Neighbour, Route
from supervisor.edges.kernel.netlink_socket import NetlinkSocket, translated
from supervisor.errors import Step

_OWN_PROTOCOLS = (REACH_PROTOCOL, LINK_PROTOCOL)
_NOT_YET = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENODEV, errno.ENETDOWN)
"""What the kernel answers if another link lacks the address or the route that this route needs."""


BOTH, EACH = (0,), (4, 6)
"""The versions of IP to dump: both in one dump, which waits for RTNL; or each alone, which does not since Linux 6.9."""


def observe_addresses(netlink: NetlinkSocket, versions: Iterable[int], now_s: float) -> list[tuple[IfIndex, Address]]:
    """Return all addresses, each with the link that has it. Lifetimes count from `now_s`, in seconds since boot."""
    payloads = _dump(netlink, Kind.ADDRESSES, versions)
    return [found for payload in payloads if (found := parse_address(payload, now_s))]


def observe_interfaces(
    netlink: NetlinkSocket,
    links: Iterable[Link],
    addresses: Collection[tuple[IfIndex, Address]],
    versions: Iterable[int],
    now_s: float,
) -> list[Interface]:
    """Return the links as interfaces, with their addresses, and with routes and neighbours of these versions of IP."""
    payloads = _dump(netlink, Kind.ROUTES, versions)
    routes = [found for payload in payloads if (found := parse_route(payload, now_s))]
    payloads = _dump(netlink, Kind.NEIGHBOURS, versions) + _dump(netlink, Kind.PROXIES, versions)
    entries = [entry for payload in payloads if (entry := parse_neighbour(payload))]
    interfaces = []
    for link in links:
        own = tuple(address for index, address in addresses if index == link.index)
        neighbours = tuple(neighbour for index, neighbour in entries if index == link.index)
        theirs = list(routes_of(link.index, own, routes))
        reached = tuple(route.destination for route in theirs if route.protocol == REACH_PROTOCOL)
        guests = tuple(_guest_ways(theirs, neighbours))
        interfaces.append(
            Interface(
                link.name,
                link.index,
                link.mac,
                link.mtu,
                own,
                tuple(route for route in theirs if route.protocol not in _OWN_PROTOCOLS),
                tuple(neighbour for neighbour in neighbours if neighbour.protocol != LINK_PROTOCOL),
                reached,
                guests,
            )
        )
    return interfaces


def _guest_ways(routes: Iterable[Route], neighbours: Iterable[Neighbour]) -> Iterator[GuestWay]:
    """Yield the parts of a private link, in the order of their addresses."""
    sources = {route.destination: route.source for route in routes if route.protocol == LINK_PROTOCOL}
    macs = {neighbour.ip: neighbour.mac for neighbour in neighbours if neighbour.protocol == LINK_PROTOCOL}
    for ip in sorted(sources.keys() | macs.keys()):
        yield GuestWay(ip, sources.get(ip), macs.get(ip))


def _dump(netlink: NetlinkSocket, kind: Kind, versions: Iterable[int]) -> list[bytes]:
    found = [(version, payload) for version in versions for payload in netlink.dump(kind, version)]
    # A kernel without this version of IP shows those of the other.
    return [payload for version, payload in found if version in (0, ip_version(payload))]


def reach(netlink: NetlinkSocket, index: IfIndex, gateway: str) -> None:
    """Add a route to a gateway on a link without an address."""
    netlink.request(add_route(index, index, route_to(gateway), Lifetime()), forgiven=(errno.EEXIST,))


def remove_routes(netlink: NetlinkSocket, index: IfIndex, routes: Iterable[Route]) -> None:
    """Remove the routes of a link; do nothing for those that are gone."""
    for route in routes:
        netlink.request(remove_route(index, index, route), forgiven=(errno.ESRCH,))


def observe_reached(netlink: NetlinkSocket, index: IfIndex) -> list[Route]:
    """Return the link's routes that `reach` has added."""
    found = [parse_route(payload, 0.0) for payload in _dump(netlink, Kind.ROUTES, BOTH)]
    return [each[1] for each in found if each and each[0] == (index,) and each[1].protocol == REACH_PROTOCOL]


def restore_addresses(netlink: NetlinkSocket, index: IfIndex, original: Interface, now_s: float) -> None:
    """Add the addresses that the link lacks, with what is left of their lifetimes. `now_s`: seconds since boot.

    Every address is tried before a failure is raised.
    """
    failures: dict[Address, OSError] = {}
    for address in oldest_first(original.addresses):
        if lifetime := lifetime_left(address, now_s):
            try:
                netlink.request(*add_address(index, address, lifetime), forgiven=(errno.EEXIST,))
            except OSError as error:
                failures[address] = error
    for address, failure in failures.items():
        with translated(Step.TAKEOVER, f"add {address} to {original.name}"):
            raise failure


def restore_neighbours(netlink: NetlinkSocket, index: IfIndex, original: Interface) -> None:
    """Add the entries that the kernel did not learn."""
    for neighbour in original.neighbours:
        with translated(Step.TAKEOVER, f"add neighbour {neighbour.ip} to {original.name}"):
            netlink.request(add_neighbour(index, neighbour))


def restore_routes(
    netlink: NetlinkSocket, index: IfIndex, original: Interface, later: Collection[Route], now_s: float
) -> None:
    """Add the routes that are not there, with what is left of their lifetimes. Those of `later` may be refused.

    A route can need another one, through which its gateway is reached. So what is refused is tried again as long as any
    other succeeds. Every route is tried before a failure is raised.
    """
    pending = [route for route in original.routes if lifetime_left(route, now_s)]
    failures: dict[Route, OSError] = {}
    while pending:
        failures = {}
        for route in pending:
            try:
                _restore_route(netlink, index, original.index, route, now_s)
            except OSError as error:
                failures[route] = error
        if len(failures) == len(pending):
            break
        pending = list(failures)
    for route, failure in failures.items():
        if not (route in later and failure.errno in _NOT_YET):
            with translated(Step.TAKEOVER, f"add route {route.destination or 'default'} to {original.name}"):
                raise failure


def _restore_route(netlink: NetlinkSocket, index: IfIndex, before: IfIndex, route: Route, now_s: float) -> None:
    lifetime = lifetime_left(route, now_s)
    if lifetime is None:
        return
    try:
        netlink.request(add_route(index, before, route, lifetime))
    except FileExistsError:
        # An IPv6 route outlives the addresses of its link, but not its own source address, nor each of its next hops.
        if route.family == 6 and (route.source or route.hops):
            netlink.request(replace_route(index, before, route, lifetime))
