"""rtnetlink's dumps unpacked, and the requests of an attach (man 7 rtnetlink; linux/rtnetlink.h, if_link.h, if_addr.h).

pyroute2 unpacks every attribute there is, and sets up a loop of its own for each namespace, which takes ten times as
long as all the rest of a look or an attach. What is changed beyond a macvtap goes by pyroute2.

A lifetime is counted down in what the kernel shows (linux/if_addr.h: ifa_cacheinfo; linux/rtnetlink.h: rta_cacheinfo).
Here it becomes a point in time, which stays the same from one look to the next.
"""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.model import Address, IfIndex, Link, Route

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, hardware type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_U32 = struct.Struct("=I")
_IFA_CACHE = struct.Struct("=II8x")  # struct ifa_cacheinfo: preferred and valid, in seconds; two time stamps
_RTA_CACHE = struct.Struct("=8xi20x")  # struct rta_cacheinfo: expires, in ticks, among what is of no interest

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR = 0x10
"""The tables changed while they were dumped: what was read may be of two minds."""
_NLM_F_REQUEST_DUMP = 0x301
_TYPE_BITS = 0x3FFF  # the rest are NLA_F_NESTED and NLA_F_NET_BYTEORDER

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_DELADDR = 16, 17, 18, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO = 1, 3, 4, 5, 18
_IFLA_AF_SPEC, _IFLA_EXT_MASK, _IFLA_LINK_NETNSID = 26, 29, 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_MACVLAN_MODE, _MACVLAN_MODE_BRIDGE = 1, 4
_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE = 8, 1
_AF_INET6 = 10
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 4, 6, 8
_IFA_F_PERMANENT = 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_RTA_CACHEINFO = 12
_TICKS_A_SECOND = 100  # USER_HZ, asm-generic/param.h: of each machine that vtapd runs on
_RTEXT_FILTER_SKIP_STATS = 8
_IFF_UP, _IFF_ALLMULTI = 0x1, 0x200  # linux/if.h
_ARPHRD_ETHER = 1
_RT_TABLE_LOCAL, _RTPROT_KERNEL = 255, 2
_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 4
_REMEMBERED = 2048
"""So many messages are not unpacked again: a resync sees what the one before saw, to the byte."""
_FAMILIES = {2: 4, 10: 6}  # AF_INET, AF_INET6
_AF = {version: family for family, version in _FAMILIES.items()}


class Kind(IntEnum):
    """What can be dumped, by the number of the request: RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE."""

    LINKS = 18
    ADDRESSES = 22
    ROUTES = 26


def dump_request(kind: Kind, version: int, sequence: int) -> bytes:
    """A request for everything of a kind: of one version of IP, or with 0 of both; for links there is 0 alone."""
    skip_statistics = _attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
    body = {
        Kind.LINKS: bytes(_LINK.size) + skip_statistics,
        Kind.ADDRESSES: _ADDRESS.pack(_AF.get(version, 0), 0, 0, 0, 0),
        Kind.ROUTES: _ROUTE.pack(_AF.get(version, 0), 0, 0, 0, 0, 0, 0, 0, 0),
    }[kind]
    return _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST_DUMP, sequence, 0) + body


class Request(NamedTuple):
    """One that is answered by an acknowledgement, or by what it asks for."""

    kind: int
    flags: int
    body: bytes


def pack(requests: Sequence[Request], sequence: int) -> bytes:
    """In one piece, which the kernel carries out in this order whatever fails; numbered from `sequence` on."""
    return b"".join(
        _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, sequence + number, 0) + body
        for number, (kind, flags, body) in enumerate(requests)
    )


def create_macvlan(kind: str, name: str, parent: IfIndex, mtu: int, *, mac: str = "", index: int = 0) -> Request:
    """For a macvtap or macvlan in bridge mode that lets all multicast through.

    Without a `mac` it gets one at random, without an `index` the next that is free.
    """
    mode = _attribute(_IFLA_MACVLAN_MODE, _U32.pack(_MACVLAN_MODE_BRIDGE))
    info = _attribute(_IFLA_INFO_KIND, kind.encode()) + _attribute(_IFLA_INFO_DATA, mode)
    body = (
        _LINK.pack(0, 0, index, _IFF_ALLMULTI, _IFF_ALLMULTI)
        + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + _attribute(_IFLA_LINK, _U32.pack(parent))
        + _attribute(_IFLA_MTU, _U32.pack(mtu))
        + (_attribute(_IFLA_ADDRESS, _octets(mac)) if mac else b"")
        + _attribute(_IFLA_LINKINFO, info)
    )
    return Request(_RTM_NEWLINK, _NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL, body)


def forgo_ipv6(link: str | IfIndex) -> Request:
    """The link makes itself no IPv6 address. Not for a new link, says the kernel; and to be told before it comes up."""
    mode = _attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    return _set(link, 0, _attribute(_IFLA_AF_SPEC, _attribute(_AF_INET6, mode)))


def raise_link(link: str | IfIndex, mtu: int) -> Request:
    """The link gets this MTU and comes up."""
    return _set(link, _IFF_UP, _attribute(_IFLA_MTU, _U32.pack(mtu)))


def set_mac(index: IfIndex, mac: str) -> Request:
    """The link gets this MAC."""
    return _set(index, 0, _attribute(_IFLA_ADDRESS, _octets(mac)))


def delete_link(index: IfIndex) -> Request:
    """The link goes."""
    return Request(_RTM_DELLINK, _NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0))


def remove_address(index: IfIndex, address: Address) -> Request:
    """The link loses this address."""
    body = _ADDRESS.pack(_AF[address.family], address.prefix, 0, 0, index)
    ip = ipaddress.ip_address(address.ip).packed
    return Request(_RTM_DELADDR, _NLM_F_ACK, body + _attribute(_IFA_LOCAL, ip) + _attribute(_IFA_ADDRESS, ip))


def show_link(name: str) -> Request:
    """The link of this name, without its statistics."""
    skip_statistics = _attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
    return Request(
        _RTM_GETLINK, 0, bytes(_LINK.size) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + skip_statistics
    )


def _set(link: str | IfIndex, flags: int, attributes: bytes) -> Request:
    index, named = (0, _attribute(_IFLA_IFNAME, link.encode() + b"\0")) if isinstance(link, str) else (link, b"")
    return Request(_RTM_NEWLINK, _NLM_F_ACK, _LINK.pack(0, 0, index, flags, flags) + named + attributes)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and payload of each message in what one recv returned."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += _aligned(length)


def parse_error(payload: bytes) -> int:
    """The errno in an NLMSG_ERROR or NLMSG_DONE; 0 where all went well."""
    code: int = struct.unpack_from("=i", payload)[0] if len(payload) >= _U32.size else 0
    return -code


def ip_version(payload: bytes) -> int | None:
    """What an address or a route is of."""
    return _FAMILIES.get(payload[0])


@lru_cache(_REMEMBERED)
def parse_link(payload: bytes) -> Link:
    """One link."""
    _, hardware, index, flags, _ = _LINK.unpack_from(payload)
    found = _attributes(payload[_LINK.size :])
    info = _attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index=IfIndex(index),
        name=_text(found.get(_IFLA_IFNAME)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU)) or 0,
        up=bool(flags & _IFF_UP),
        ethernet=hardware == _ARPHRD_ETHER,
        kind=_text(info.get(_IFLA_INFO_KIND)),
        parent=_number(found.get(_IFLA_LINK)),
        parent_netns=_number(found.get(_IFLA_LINK_NETNSID)),
    )


def parse_address(payload: bytes, now_s: float) -> tuple[IfIndex, Address] | None:
    """One address and whose it is; None where it is neither IPv4 nor IPv6. `now_s`: seconds since boot.

    Only what is permanent is the same at each look, and worth to be remembered.
    """
    unpack = _unpack_address if payload[2] & _IFA_F_PERMANENT else _unpack_address.__wrapped__
    found = unpack(payload)
    if found is None:
        return None
    index, address, left = found
    return index, left.of(address, now_s)


@lru_cache(_REMEMBERED)
def _unpack_address(payload: bytes) -> tuple[IfIndex, Address, Lifetime] | None:
    family, prefix, flags, scope, index = _ADDRESS.unpack_from(payload)
    if family not in _FAMILIES:
        return None
    found = _attributes(payload[_ADDRESS.size :])
    # IFA_LOCAL is the address itself; IFA_ADDRESS is the peer's on a point-to-point link.
    ip = _ip(found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS)))
    if ip is None:
        return None
    flags = _number(found.get(_IFA_FLAGS)) or flags
    address = Address(_FAMILIES[family], ip, prefix, _ip(found.get(_IFA_BROADCAST)), scope, flags)
    return IfIndex(index), address, _lifetime(found.get(_IFA_CACHEINFO, b""))


def oldest_first(addresses: Sequence[Address]) -> list[Address]:
    """The order in which an interface must get them to show them in this order again.

    Linux shows IPv4's oldest first, and IPv6's newest (net/ipv6/addrconf.c: ipv6_link_dev_addr).
    """
    return [a for a in addresses if a.family == 4] + [a for a in reversed(addresses) if a.family == 6]


def _lifetime(cache: bytes) -> Lifetime:
    preferred_s, valid_s = _IFA_CACHE.unpack_from(cache) if len(cache) >= _IFA_CACHE.size else (FOREVER_S, FOREVER_S)
    return Lifetime(valid_s, preferred_s)


def parse_route(payload: bytes, now_s: float) -> tuple[IfIndex, Route] | None:
    """One route and the link it goes through; None for one that the kernel makes by itself, with an address."""
    ticks = _ticks_left(payload)
    if not ticks:
        return _unpack_route(payload)
    found = _unpack_route.__wrapped__(payload)
    if found is None:
        return None
    index, route = found
    return index, replace(route, valid_until_s=now_s + ticks / _TICKS_A_SECOND)


def _ticks_left(payload: bytes) -> int:
    """How long the route still has; less than 0 where it is about to go, 0 where it stays. Only IPv6 has such."""
    if payload[0] != _AF_INET6:
        return 0
    cache = _attributes(payload[_ROUTE.size :]).get(_RTA_CACHEINFO, b"")
    ticks: int = _RTA_CACHE.unpack_from(cache)[0] if len(cache) >= _RTA_CACHE.size else 0
    return ticks


@lru_cache(_REMEMBERED)
def _unpack_route(payload: bytes) -> tuple[IfIndex, Route] | None:
    family, prefix, _, _, table, protocol, scope, kind, flags = _ROUTE.unpack_from(payload)
    found = _attributes(payload[_ROUTE.size :])
    index = _number(found.get(_RTA_OIF))
    table = _number(found.get(_RTA_TABLE)) or table
    if family not in _FAMILIES or index is None or flags & _RTM_F_CLONED:
        return None
    if protocol == _RTPROT_KERNEL or table == _RT_TABLE_LOCAL:
        return None
    route = Route(
        family=_FAMILIES[family],
        destination=_ip(found.get(_RTA_DST)) or "",
        prefix=prefix,
        gateway=_ip(found.get(_RTA_GATEWAY)),
        source=_ip(found.get(_RTA_PREFSRC)),
        metric=_number(found.get(_RTA_PRIORITY)),
        table=table,
        protocol=protocol,
        scope=scope,
        type=kind,
        flags=flags & _RTNH_F_ONLINK,  # the others are the kernel's to set
    )
    return IfIndex(index), route


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    if value is None or len(value) < _U32.size:
        return None
    number: int = _U32.unpack_from(value)[0]
    return number


def _ip(value: bytes | None) -> str | None:
    return str(ipaddress.ip_address(value)) if value else None
