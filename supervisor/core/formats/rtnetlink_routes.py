"""Routes: read from rtnetlink dumps, and added again (man 7 rtnetlink; linux/rtnetlink.h).

A route keeps the kernel's own message about it. So it is added again with all attributes, known here or not, such as
metrics. Left out are its lifetime, which passes meanwhile, and what the kernel alone sets.

The kernel shows how long a route still has (struct rta_cacheinfo). Here that becomes a point in time, which is the same
in every dump.
"""

import ipaddress
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.formats.netlink import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    pack_attribute,
    unpack_attributes,
    without_attributes,
)
from supervisor.core.formats.rtnetlink import (
    ADDRESS_FAMILIES,
    IP_VERSIONS,
    RTMSG,
    ip_of,
    ip_version,
    number_of,
)
from supervisor.core.links import Address, Hop, IfIndex, Route

_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MULTIPATH, _CACHEINFO = 1, 4, 5, 6, 7, 9, 12  # RTA_…
_TABLE, _MFC_STATS, _VIA, _EXPIRES, _NH_ID = 15, 17, 18, 23, 30
_NOT_SETTABLE = (_CACHEINFO, _MFC_STATS, _EXPIRES)
_HOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, weight less 1, index
_FAMILY = struct.Struct("=H")
_U32 = struct.Struct("=I")
_CACHE = struct.Struct("=8xi20x")  # struct rta_cacheinfo: expires, in ticks, between members that are not used
_TICKS_A_SECOND = 100  # USER_HZ, asm-generic/param.h; the same on x86-64 and arm64
_BY_KERNEL, _LOCAL_TABLE = 2, 255  # RTPROT_KERNEL, RT_TABLE_LOCAL
_CLONED = 0x200  # RTM_F_CLONED
_ONLINK = 4  # RTNH_F_ONLINK; the kernel sets the other flags
_ONE_BYTE = 0xFF


def parse_route(payload: bytes, now_s: float) -> tuple[tuple[IfIndex, ...], Route] | None:
    """Return one route and the links that it uses. `now_s`: seconds since boot.

    None for a route that uses no link, and for one that the kernel makes itself with an address.
    """
    ticks = _ticks_left(payload)
    found = _unpack(payload)
    if not ticks or found is None:
        return found
    indexes, route = found
    return indexes, replace(route, valid_until_s=now_s + ticks / _TICKS_A_SECOND)


def _ticks_left(payload: bytes) -> int:
    """Return how long an IPv6 route still has: 0 if it stays, less than 0 if it is about to be removed."""
    if ip_version(payload) != 6:
        return 0
    cache = unpack_attributes(payload[RTMSG.size :]).get(_CACHEINFO, b"")
    ticks: int = _CACHE.unpack_from(cache)[0] if len(cache) >= _CACHE.size else 0
    return ticks


def _unpack(payload: bytes) -> tuple[tuple[IfIndex, ...], Route] | None:
    family, prefix, source_prefix, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(payload)
    attributes = payload[RTMSG.size :]
    found = unpack_attributes(attributes)
    table = number_of(found.get(_TABLE)) or table
    if family not in IP_VERSIONS or flags & _CLONED or protocol == _BY_KERNEL:
        return None
    hops = tuple(_hops(found.get(_MULTIPATH, b"")))
    indexes = _indexes(number_of(found.get(_OIF)), hops)
    if not indexes or (table == _LOCAL_TABLE and IP_VERSIONS[family] == 6):
        return None
    nexthop_id = number_of(found.get(_NH_ID))
    # With a nexthop object the kernel also shows what that object says, but takes only its number.
    said_twice = () if nexthop_id is None else (_OIF, _GATEWAY, _VIA, _MULTIPATH)
    header = RTMSG.pack(family, prefix, source_prefix, tos, table & _ONE_BYTE, protocol, scope, kind, flags & _ONLINK)
    route = Route(
        family=IP_VERSIONS[family],
        destination=ip_of(found.get(_DST)) or "",
        prefix=prefix,
        gateway=ip_of(found.get(_GATEWAY)),
        source=ip_of(found.get(_PREFSRC)),
        metric=number_of(found.get(_PRIORITY)),
        table=table,
        protocol=protocol,
        scope=scope,
        type=kind,
        flags=flags & _ONLINK,
        tos=tos,
        via=_via(found.get(_VIA)),
        hops=hops,
        nexthop_id=nexthop_id,
        raw=header + without_attributes(attributes, *_NOT_SETTABLE, *said_twice),
    )
    return indexes, route


def _indexes(index: int | None, hops: tuple[Hop, ...]) -> tuple[IfIndex, ...]:
    return tuple(dict.fromkeys((*(hop.index for hop in hops), *([] if index is None else [IfIndex(index)]))))


def _hops(data: bytes) -> Iterator[Hop]:
    for index, weight, _, attributes in _each_hop(data):
        found = unpack_attributes(attributes)
        yield Hop(index, ip_of(found.get(_GATEWAY)) or _via(found.get(_VIA)), weight)


def _each_hop(data: bytes) -> Iterator[tuple[IfIndex, int, int, bytes]]:
    """Yield each next hop's link, weight, flags and attributes."""
    offset = 0
    while offset + _HOP.size <= len(data):
        length, flags, weight, index = _HOP.unpack_from(data, offset)
        if length < _HOP.size:
            return
        yield IfIndex(index), weight + 1, flags, data[offset + _HOP.size : offset + length]
        offset += (length + 3) & ~3


def _via(value: bytes | None) -> str | None:
    return ip_of(value[_FAMILY.size :]) if value else None


def routes_of(
    index: IfIndex, addresses: Collection[Address], routes: Iterable[tuple[tuple[IfIndex, ...], Route]]
) -> Iterator[Route]:
    """Yield the routes that the kernel removes with this link's addresses: those through it, and those from them.

    A route through another link has that link as its hop.
    """
    own = {address.ip for address in addresses if address.family == 4}
    for indexes, route in routes:
        if index in indexes:
            yield route
        elif route.source in own:
            yield route if route.hops else replace(route, hops=(Hop(indexes[0], route.gateway, 1),))


def add_route(index: IfIndex, before: IfIndex, route: Route, lifetime: Lifetime) -> Request:
    """Add the route. Where it used the link with the index `before`, it uses `index`.

    An IPv4 route is appended to those that differ in nothing but their gateway, which are the older ones.
    """
    how = NLM_F_CREATE | (NLM_F_APPEND if route.family == 4 else NLM_F_EXCL)
    return Request(_RTM_NEWROUTE, NLM_F_ACK | how, _body(index, before, route, lifetime))


def replace_route(index: IfIndex, before: IfIndex, route: Route, lifetime: Lifetime) -> Request:
    """Put the route in place of one that has the same key."""
    body = _body(index, before, route, lifetime)
    return Request(_RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body)


def remove_route(index: IfIndex, before: IfIndex, route: Route) -> Request:
    """Remove the route."""
    return Request(_RTM_DELROUTE, NLM_F_ACK, _body(index, before, route, Lifetime()))


def _body(index: IfIndex, before: IfIndex, route: Route, lifetime: Lifetime) -> bytes:
    body = _moved(route.raw, index, before) if route.raw else _pack(index, route)
    if lifetime.valid_s != FOREVER_S:
        body += pack_attribute(_EXPIRES, _U32.pack(lifetime.valid_s))
    return body


def _moved(raw: bytes, index: IfIndex, before: IfIndex) -> bytes:
    """Return the kernel's message with another link in place of the one before."""
    attributes = raw[RTMSG.size :]
    found = unpack_attributes(attributes)
    body = raw[: RTMSG.size] + without_attributes(attributes, _OIF, _MULTIPATH)
    if _OIF in found:
        now = index if number_of(found[_OIF]) == before else number_of(found[_OIF])
        body += pack_attribute(_OIF, _U32.pack(now or 0))
    if _MULTIPATH in found:
        body += pack_attribute(_MULTIPATH, b"".join(_moved_hops(found[_MULTIPATH], index, before)))
    return body


def _moved_hops(data: bytes, index: IfIndex, before: IfIndex) -> Iterator[bytes]:
    for found, weight, flags, attributes in _each_hop(data):
        now = index if found == before else found
        length = _HOP.size + len(attributes)
        yield (_HOP.pack(length, flags & _ONLINK, weight - 1, now) + attributes).ljust((length + 3) & ~3, b"\0")


def _pack(index: IfIndex, route: Route) -> bytes:
    """Return a message with what the fields say, for a route that an earlier version read or that is made up."""
    texts = ((_DST, route.destination), (_GATEWAY, route.gateway), (_PREFSRC, route.source))
    numbers = ((_OIF, index), (_PRIORITY, route.metric), (_TABLE, route.table))
    header = RTMSG.pack(
        ADDRESS_FAMILIES[route.family],
        route.prefix,
        0,
        route.tos,
        route.table & _ONE_BYTE,
        route.protocol,
        route.scope,
        route.type,
        route.flags,
    )
    packed = [pack_attribute(kind, ipaddress.ip_address(text).packed) for kind, text in texts if text]
    packed += [pack_attribute(kind, _U32.pack(number)) for kind, number in numbers if number is not None]
    return header + b"".join(packed)
