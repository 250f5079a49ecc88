"""Links, addresses and routes as rtnetlink dumps them (man 7 rtnetlink; linux/rtnetlink.h, if_link.h, if_addr.h).

pyroute2 unpacks every attribute, which takes ten times as long as everything else that an observation does.

The kernel shows how long an address or a route still has (linux/if_addr.h: ifa_cacheinfo; linux/rtnetlink.h:
rta_cacheinfo). Here that becomes a point in time, which is the same in every dump.
"""

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.formats.macvlan import parse_mode
from supervisor.core.formats.netlink import NLM_F_DUMP, Request, pack_attribute, unpack_attributes
from supervisor.core.model import Address, IfIndex, Link, Route

IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_U32 = struct.Struct("=I")
_IFA_CACHE = struct.Struct("=II8x")  # struct ifa_cacheinfo: preferred and valid, in seconds; two time stamps
_RTA_CACHE = struct.Struct("=8xi20x")  # struct rta_cacheinfo: expires, in ticks, between members that are not used

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_LINK_NETNSID = 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 4, 6, 8
_IFA_F_PERMANENT = 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_CACHEINFO, _RTA_TABLE = 1, 4, 5, 6, 7, 12, 15
_TICKS_A_SECOND = 100  # USER_HZ, asm-generic/param.h; the same on x86-64 and arm64
_WITH_MODE = ("macvlan", "macvtap")
_IFF_UP = 0x1  # linux/if.h
_ARPHRD_ETHER = 1
_RT_TABLE_LOCAL, _RTPROT_KERNEL = 255, 2
_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 4
_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS = 29, 8
SKIP_STATISTICS = pack_attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
"""The attribute that leaves statistics out of the kernel's answer about links."""
_REMEMBERED = 2048
"""How many messages are not unpacked again: most of a resync's are the same as the last one's, to the byte."""
_IP_VERSIONS = {2: 4, 10: 6}  # by AF_INET, AF_INET6
ADDRESS_FAMILIES = {version: family for family, version in _IP_VERSIONS.items()}
"""AF_INET and AF_INET6, by the version of IP."""


class Kind(IntEnum):
    """What can be dumped, by the number of the request: RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE."""

    LINKS = 18
    ADDRESSES = 22
    ROUTES = 26


def dump(kind: Kind, version: int) -> Request:
    """Ask for everything of a kind, of one version of IP, or with 0 of both. Links have only 0."""
    body = {
        Kind.LINKS: bytes(IFINFOMSG.size) + SKIP_STATISTICS,
        Kind.ADDRESSES: IFADDRMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, 0, 0),
        Kind.ROUTES: _RTMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, 0, 0, 0, 0, 0, 0),
    }[kind]
    return Request(kind, NLM_F_DUMP, body)


def ip_version(payload: bytes) -> int | None:
    """Return the version of IP of an address or a route; None for another protocol."""
    return _IP_VERSIONS.get(payload[0])


@lru_cache(_REMEMBERED)
def parse_link(payload: bytes) -> Link:
    """Return one link of a dump."""
    _, hardware, index, flags, _ = IFINFOMSG.unpack_from(payload)
    found = unpack_attributes(payload[IFINFOMSG.size :])
    info = unpack_attributes(found.get(_IFLA_LINKINFO, b""))
    kind = _text(info.get(_IFLA_INFO_KIND))
    return Link(
        index=IfIndex(index),
        name=_text(found.get(_IFLA_IFNAME)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU)) or 0,
        up=bool(flags & _IFF_UP),
        ethernet=hardware == _ARPHRD_ETHER,
        kind=kind,
        parent=_number(found.get(_IFLA_LINK)),
        parent_netns=_number(found.get(_IFLA_LINK_NETNSID)),
        mode=parse_mode(unpack_attributes(info.get(_IFLA_INFO_DATA, b""))) if kind in _WITH_MODE else None,
        master=_number(found.get(_IFLA_MASTER)),
    )


def parse_address(payload: bytes, now_s: float) -> tuple[IfIndex, Address] | None:
    """Return one address and the link that has it; None if it is neither IPv4 nor IPv6. `now_s`: seconds since boot.

    Only permanent addresses are remembered: the others differ in each dump.
    """
    unpack = _unpack_address if payload[2] & _IFA_F_PERMANENT else _unpack_address.__wrapped__
    found = unpack(payload)
    if found is None:
        return None
    index, address, left = found
    return index, left.of(address, now_s)


@lru_cache(_REMEMBERED)
def _unpack_address(payload: bytes) -> tuple[IfIndex, Address, Lifetime] | None:
    family, prefix, flags, scope, index = IFADDRMSG.unpack_from(payload)
    if family not in _IP_VERSIONS:
        return None
    found = unpack_attributes(payload[IFADDRMSG.size :])
    # IFA_LOCAL is the address itself; IFA_ADDRESS is the peer's on a point-to-point link.
    ip = _ip(found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS)))
    if ip is None:
        return None
    flags = _number(found.get(_IFA_FLAGS)) or flags
    address = Address(_IP_VERSIONS[family], ip, prefix, _ip(found.get(_IFA_BROADCAST)), scope, flags)
    return IfIndex(index), address, _lifetime(found.get(_IFA_CACHEINFO, b""))


def oldest_first(addresses: Sequence[Address]) -> list[Address]:
    """Return the order in which to add addresses so that the kernel shows them in the given order.

    Linux shows the oldest IPv4 address first, but the newest IPv6 address (net/ipv6/addrconf.c: ipv6_link_dev_addr).
    """
    return [a for a in addresses if a.family == 4] + [a for a in reversed(addresses) if a.family == 6]


def _lifetime(cache: bytes) -> Lifetime:
    preferred_s, valid_s = _IFA_CACHE.unpack_from(cache) if len(cache) >= _IFA_CACHE.size else (FOREVER_S, FOREVER_S)
    return Lifetime(valid_s, preferred_s)


def parse_route(payload: bytes, now_s: float) -> tuple[IfIndex, Route] | None:
    """Return one route and the link that it uses; None for a route that the kernel makes itself with an address."""
    ticks = _ticks_left(payload)
    if not ticks:
        return _unpack_route(payload)
    found = _unpack_route.__wrapped__(payload)
    if found is None:
        return None
    index, route = found
    return index, replace(route, valid_until_s=now_s + ticks / _TICKS_A_SECOND)


def _ticks_left(payload: bytes) -> int:
    """Return how long an IPv6 route still has: 0 if it stays, less than 0 if it is about to be removed."""
    if ip_version(payload) != 6:
        return 0
    cache = unpack_attributes(payload[_RTMSG.size :]).get(_RTA_CACHEINFO, b"")
    ticks: int = _RTA_CACHE.unpack_from(cache)[0] if len(cache) >= _RTA_CACHE.size else 0
    return ticks


@lru_cache(_REMEMBERED)
def _unpack_route(payload: bytes) -> tuple[IfIndex, Route] | None:
    family, prefix, _, _, table, protocol, scope, kind, flags = _RTMSG.unpack_from(payload)
    found = unpack_attributes(payload[_RTMSG.size :])
    index = _number(found.get(_RTA_OIF))
    table = _number(found.get(_RTA_TABLE)) or table
    if family not in _IP_VERSIONS or index is None or flags & _RTM_F_CLONED:
        return None
    if protocol == _RTPROT_KERNEL or table == _RT_TABLE_LOCAL:
        return None
    route = Route(
        family=_IP_VERSIONS[family],
        destination=_ip(found.get(_RTA_DST)) or "",
        prefix=prefix,
        gateway=_ip(found.get(_RTA_GATEWAY)),
        source=_ip(found.get(_RTA_PREFSRC)),
        metric=_number(found.get(_RTA_PRIORITY)),
        table=table,
        protocol=protocol,
        scope=scope,
        type=kind,
        flags=flags & _RTNH_F_ONLINK,  # the kernel sets the others
    )
    return IfIndex(index), route


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    if value is None or len(value) < _U32.size:
        return None
    number: int = _U32.unpack_from(value)[0]
    return number


def _ip(value: bytes | None) -> str | None:
    return str(ipaddress.ip_address(value)) if value else None
