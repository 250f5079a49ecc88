"""Entries of the neighbour tables that are not learned: read from rtnetlink dumps, and added again (linux/neighbour.h).

The kernel removes them when their link gets another MAC, as in a takeover. Those that it learns, it learns again.
"""

import ipaddress

from supervisor.core.formats.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Request,
    pack_attribute,
    unpack_attributes,
    without_attributes,
)
from supervisor.core.formats.rtnetlink import ADDRESS_FAMILIES, IP_VERSIONS, NDMSG, NTF_PROXY, ip_of
from supervisor.core.links import IfIndex, Neighbour

_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_DST, _LLADDR, _CACHEINFO, _PROBES, _PROTOCOL = 1, 2, 3, 4, 12  # NDA_…
_NOARP, _PERMANENT = 0x40, 0x80  # NUD_…
_BROADCAST = b"\xff" * 6


def parse_neighbour(payload: bytes) -> tuple[IfIndex, Neighbour] | None:
    """Return one entry and its link; None for one that the kernel learns or makes by itself."""
    family, index, state, flags, kind = NDMSG.unpack_from(payload)
    attributes = payload[NDMSG.size :]
    found = unpack_attributes(attributes)
    ip, mac = ip_of(found.get(_DST)), found.get(_LLADDR, b"")
    made = flags & NTF_PROXY or state & (_NOARP | _PERMANENT)
    if family not in IP_VERSIONS or ip is None or not made:
        return None
    if state & _NOARP and (ipaddress.ip_address(ip).is_multicast or mac in (b"", _BROADCAST)):
        return None  # the kernel makes these when it sends to a group or to all
    header = NDMSG.pack(family, index, state, flags, kind)
    raw = header + without_attributes(attributes, _CACHEINFO, _PROBES)
    protocol = (found.get(_PROTOCOL) or b"\0")[0]
    return IfIndex(index), Neighbour(IP_VERSIONS[family], ip, mac.hex(":"), state, protocol, raw)


def add_neighbour(index: IfIndex, neighbour: Neighbour) -> Request:
    """Add the entry to the link, or put it in place of one that was learned."""
    family, _, state, flags, kind = NDMSG.unpack_from(neighbour.raw)
    body = NDMSG.pack(family, index, state, flags, kind) + neighbour.raw[NDMSG.size :]
    return Request(_RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body)


def set_permanent(index: IfIndex, ip: str, mac: str, protocol: int) -> Request:
    """Add an entry that stays, or put it in place of what is there for this address."""
    attributes = pack_attribute(_LLADDR, bytes.fromhex(mac.replace(":", "")))
    body = _entry(index, ip) + attributes + pack_attribute(_PROTOCOL, bytes([protocol]))
    return Request(_RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body)


def remove_neighbour(index: IfIndex, ip: str) -> Request:
    """Remove the entry for this address."""
    return Request(_RTM_DELNEIGH, NLM_F_ACK, _entry(index, ip))


def _entry(index: IfIndex, ip: str) -> bytes:
    address = ipaddress.ip_address(ip)
    header = NDMSG.pack(ADDRESS_FAMILIES[address.version], index, _PERMANENT, 0, 0)
    return header + pack_attribute(_DST, address.packed)
