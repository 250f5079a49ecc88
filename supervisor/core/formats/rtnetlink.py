"""Dumps of rtnetlink, and the links in them (man 7 rtnetlink; linux/rtnetlink.h, if_link.h).

Addresses, routes and neighbours have modules of their own. A library such as pyroute2 unpacks every attribute, which
takes ten times as long as everything else that an observation does.
"""

import ipaddress
import struct
from enum import IntEnum

from supervisor.core.formats.macvlan import parse_mode
from supervisor.core.formats.netlink import NLM_F_DUMP, Request, pack_attribute, unpack_attributes
from supervisor.core.links import IfIndex, Link

IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_U32 = struct.Struct("=I")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_LINK_NETNSID = 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_WITH_MODE = ("macvlan", "macvtap")
_IFF_UP = 0x1  # linux/if.h
_ARPHRD_ETHER = 1
_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS = 29, 8
NTF_PROXY = 0x08  # linux/neighbour.h
SKIP_STATISTICS = pack_attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
"""The attribute that leaves statistics out of the kernel's answer about links."""
IP_VERSIONS = {2: 4, 10: 6}
"""The version of IP, by AF_INET and AF_INET6."""
ADDRESS_FAMILIES = {version: family for family, version in IP_VERSIONS.items()}
"""AF_INET and AF_INET6, by the version of IP."""


class Kind(IntEnum):
    """What can be dumped, by the number of the request: RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH."""

    LINKS = 18
    ADDRESSES = 22
    ROUTES = 26
    NEIGHBOURS = 30
    PROXIES = 0x1001E
    """RTM_GETNEIGH with NTF_PROXY: the addresses for which a link answers ARP in the name of others."""

    @property
    def request(self) -> int:
        """The number of the request."""
        return self & 0xFFFF


def dump(kind: Kind, version: int) -> Request:
    """Ask for everything of a kind, of one version of IP, or with 0 of both. Links have only 0."""
    body = {
        Kind.LINKS: bytes(IFINFOMSG.size) + SKIP_STATISTICS,
        Kind.ADDRESSES: IFADDRMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, 0, 0),
        Kind.ROUTES: RTMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, 0, 0, 0, 0, 0, 0),
        Kind.NEIGHBOURS: NDMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, 0, 0),
        Kind.PROXIES: NDMSG.pack(ADDRESS_FAMILIES.get(version, 0), 0, 0, NTF_PROXY, 0),
    }[kind]
    return Request(kind.request, NLM_F_DUMP, body)


def ip_version(payload: bytes) -> int | None:
    """Return the version of IP of an address, a route or a neighbour; None for another protocol."""
    return IP_VERSIONS.get(payload[0])


def parse_link(payload: bytes) -> Link:
    """Return one link of a dump."""
    _, hardware, index, flags, _ = IFINFOMSG.unpack_from(payload)
    found = unpack_attributes(payload[IFINFOMSG.size :])
    info = unpack_attributes(found.get(_IFLA_LINKINFO, b""))
    kind = text_of(info.get(_IFLA_INFO_KIND))
    return Link(
        index=IfIndex(index),
        name=text_of(found.get(_IFLA_IFNAME)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=number_of(found.get(_IFLA_MTU)) or 0,
        up=bool(flags & _IFF_UP),
        ethernet=hardware == _ARPHRD_ETHER,
        kind=kind,
        parent=number_of(found.get(_IFLA_LINK)),
        parent_netns=number_of(found.get(_IFLA_LINK_NETNSID)),
        mode=parse_mode(unpack_attributes(info.get(_IFLA_INFO_DATA, b""))) if kind in _WITH_MODE else None,
        master=number_of(found.get(_IFLA_MASTER)),
    )


def text_of(value: bytes | None) -> str:
    """Return an attribute's text; empty if there is none."""
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")


def number_of(value: bytes | None) -> int | None:
    """Return an attribute's 32-bit number, if there is one."""
    if value is None or len(value) < _U32.size:
        return None
    number: int = _U32.unpack_from(value)[0]
    return number


def ip_of(value: bytes | None) -> str | None:
    """Return an attribute's IP address, if there is one."""
    return str(ipaddress.ip_address(value)) if value else None
