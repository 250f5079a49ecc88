"""Follow Docker when it gives a container another default gateway while a guest has the container's addresses.

Docker has the default route on one of a container's networks, and moves it when a network is connected or disconnected
(moby: libnetwork/endpoint.go, default_gateway.go). It finds the interface by a route to the gateway. An interface that
is taken over has none, so vtapd makes one, for the gateway alone: then Docker sets the default route there as usual.
What Docker has set is put on record as part of the interface, for the guest's next start and for the container.

If Docker could not set it, the gateway is chosen by Docker's rule.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from supervisor.core.attach.entries import with_entry
from supervisor.core.attach.state import Seen
from supervisor.core.container import Endpoint
from supervisor.core.links import Interface, Route
from supervisor.core.record import Record, TapRecord

REACH_PROTOCOL = 118
"""The rtm_protocol of the routes that vtapd makes. Programs may use any number that no routing daemon uses."""
_BY_DOCKER, _MAIN_TABLE, _UNICAST, _LINK = 3, 254, 1, 253
"""RTPROT_BOOT, RT_TABLE_MAIN, RTN_UNICAST and RT_SCOPE_LINK of linux/rtnetlink.h."""


def is_dockers_default(route: Route) -> bool:
    """Return whether this looks like a default route of Docker's. With a lifetime it is a router's."""
    plain = (route.prefix, route.table, route.type, route.protocol) == (0, _MAIN_TABLE, _UNICAST, _BY_DOCKER)
    return plain and route.gateway is not None and route.valid_until_s is None and not route.hops


def gateways_to_reach(original: Interface, endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
    """Return the gateways that Docker may set a default route to, on an interface that is taken over."""
    dockers = [gateway for each in endpoints if each.mac == original.mac for _, _, gateway in each.addresses if gateway]
    own = [route.gateway for route in original.routes if route.gateway and is_dockers_default(route)]
    return tuple(dict.fromkeys((*dockers, *own)))


def route_to(gateway: str) -> Route:
    """Return vtapd's own route to a gateway, by which Docker finds the interface."""
    family = 6 if ":" in gateway else 4
    bits, scope = (128, 0) if family == 6 else (32, _LINK)
    return Route(family, gateway, bits, protocol=REACH_PROTOCOL, scope=scope)


def has_only_routes_to(reach: Collection[str], taken: Interface) -> bool:
    """Return whether an interface that is taken over has a route to each of these gateways, and no default route.

    Linux leaves the default route of IPv6.
    """
    return set(reach) <= set(taken.reached) and not any(r.family == 4 and is_dockers_default(r) for r in taken.routes)


def in_dockers_order(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the endpoints, the best for the default gateway first. Docker names no gateway for internal networks."""
    return sorted(endpoints, key=lambda each: (-each.priority, -len(_gateways(each)), each.network))


def gateway_endpoints(endpoints: Sequence[Endpoint]) -> Mapping[int, Endpoint]:
    """Return the endpoint whose gateway Docker chooses, by version of IP."""
    ordered = in_dockers_order(endpoints)
    both = next((each for each in ordered if len(_gateways(each)) > 1), None)
    chosen = {version: next((each for each in ordered if version in _gateways(each)), None) for version in (4, 6)}
    return {version: both or each for version, each in chosen.items() if each}


def _gateways(endpoint: Endpoint) -> dict[int, str]:
    """Return its gateways by version of IP."""
    return {6 if ":" in ip else 4: gateway for ip, _, gateway in endpoint.addresses if gateway}


def with_current_gateways(record: Record, seen: Seen, endpoints: Sequence[Endpoint]) -> Record:
    """Return the record with the default routes that Docker has set since the takeover."""
    for each in seen.interfaces:
        for route in filter(is_dockers_default, each.interface.routes):
            record = _with_default(record, each.interface, route, endpoints)
    for gone in record.taps:
        if gone.original is not None and seen.of(gone.interface) is None:
            for route in filter(is_dockers_default, gone.original.routes):
                record = _with_heir(record, seen, gone.original, route, endpoints)
    return record


def _with_default(record: Record, interface: Interface, route: Route, endpoints: Sequence[Endpoint]) -> Record:
    """Return the record with a default route that the kernel shows, in place of one that Docker had set elsewhere."""
    mine = record.tap_of(interface.name)
    if mine is not None and mine.original is not None and not mine.only_mac:
        if route in mine.original.routes:
            return record
        ours, others = _with_routes(mine, route, route), _without_default(record, route, lambda _: True)
        return with_entry(others, ours)
    # The container may have set a default route itself on an interface that it has. Docker's goes to a better one.
    order = [each.mac for each in in_dockers_order(endpoints)]
    if interface.mac not in order:
        return record
    better = order.index(interface.mac)
    return _without_default(record, route, lambda mac: mac not in order[:better])


def _without_default(record: Record, route: Route, gives_way: Callable[[str], bool]) -> Record:
    """Return the record without such a route on the interfaces of these MACs."""
    taps = [
        _with_routes(entry, route) if entry.original is not None and gives_way(entry.original.mac) else entry
        for entry in record.taps
    ]
    return record if taps == [*record.taps] else replace(record, taps=tuple(taps))


def _with_routes(entry: TapRecord, replaced: Route, *new: Route) -> TapRecord:
    assert entry.original is not None, "only what was taken over is on record"
    kept = (each for each in entry.original.routes if each.key != replaced.key)
    return replace(entry, original=replace(entry.original, routes=(*kept, *new)))


def _with_heir(record: Record, seen: Seen, gone: Interface, route: Route, endpoints: Sequence[Endpoint]) -> Record:
    """Return the record with the default route of an interface that is gone on the next one that Docker prefers."""
    others = [entry.original for entry in record.taps if entry.original and entry.original.mac != gone.mac]
    present = [each.interface for each in seen.interfaces]
    if any(each.key == route.key for interface in (*others, *present) for each in interface.routes):
        return record
    heir = gateway_endpoints([each for each in endpoints if each.mac != gone.mac]).get(route.family)
    routed = [t for t in record.taps if t.original and not t.only_mac]
    entry = next((t for t in routed if heir and t.original and t.original.mac == heir.mac), None)
    if heir is None or entry is None:
        return record
    inherited = Route(route.family, "", 0, _gateways(heir)[route.family], metric=route.metric, protocol=_BY_DOCKER)
    return with_entry(record, _with_routes(entry, route, inherited))
