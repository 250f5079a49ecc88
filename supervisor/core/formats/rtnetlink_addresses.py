"""The addresses of links: read from rtnetlink dumps, removed, and added again (man 7 rtnetlink; linux/if_addr.h).

An address keeps the kernel's own message about it. So it is added again with all attributes, known here or not. Left
out are its lifetimes, which pass meanwhile, and the flags that the kernel alone sets.

The kernel shows how long an address still has (struct ifa_cacheinfo). Here that becomes a point in time, which is the
same in every dump.
"""

import ipaddress
import struct
from collections.abc import Sequence

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime
from supervisor.core.formats.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    pack_attribute,
    unpack_attributes,
    without_attributes,
)
from supervisor.core.formats.rtnetlink import ADDRESS_FAMILIES, IFADDRMSG, IP_VERSIONS, ip_of, number_of
from supervisor.core.links import Address, IfIndex

_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_ADDRESS, _LOCAL, _BROADCAST, _CACHEINFO, _FLAGS = 1, 2, 4, 6, 8  # IFA_…
_NODAD, _DADFAILED, _TENTATIVE = 0x02, 0x08, 0x40  # IFA_F_…
_SETTABLE = {4: 0x600, 6: 0x712}
"""The flags that the kernel takes: NOPREFIXROUTE, MCAUTOJOIN; of IPv6 also NODAD, HOMEADDRESS and MANAGETEMPADDR."""
_U32 = struct.Struct("=I")
_CACHE = struct.Struct("=IIII")  # struct ifa_cacheinfo: preferred and valid, in seconds; two time stamps


def parse_address(payload: bytes, now_s: float) -> tuple[IfIndex, Address] | None:
    """Return one address and the link that has it; None if it is neither IPv4 nor IPv6. `now_s`: seconds since boot."""
    found = _unpack(payload)
    if found is None:
        return None
    index, address, left = found
    return index, left.of(address, now_s)


def _unpack(payload: bytes) -> tuple[IfIndex, Address, Lifetime] | None:
    family, prefix, flags, scope, index = IFADDRMSG.unpack_from(payload)
    if family not in IP_VERSIONS:
        return None
    attributes = payload[IFADDRMSG.size :]
    found = unpack_attributes(attributes)
    # IFA_LOCAL is the address itself; IFA_ADDRESS is the peer's on a point-to-point link.
    ip, peer = ip_of(found.get(_LOCAL, found.get(_ADDRESS))), ip_of(found.get(_ADDRESS))
    if ip is None:
        return None
    address = Address(
        IP_VERSIONS[family],
        ip,
        prefix,
        ip_of(found.get(_BROADCAST)),
        scope,
        number_of(found.get(_FLAGS)) or flags,
        peer=peer if peer != ip else None,
        raw=payload[: IFADDRMSG.size] + without_attributes(attributes, _CACHEINFO),
    )
    return IfIndex(index), address, _lifetime(found.get(_CACHEINFO, b""))


def _lifetime(cache: bytes) -> Lifetime:
    preferred_s, valid_s, *_ = _CACHE.unpack_from(cache) if len(cache) >= _CACHE.size else (FOREVER_S, FOREVER_S)
    return Lifetime(valid_s, preferred_s)


def oldest_first(addresses: Sequence[Address]) -> list[Address]:
    """Return the order in which to add addresses so that the kernel shows them in the given order.

    Linux shows the oldest IPv4 address first, but the newest IPv6 address (net/ipv6/addrconf.c: ipv6_link_dev_addr).
    """
    return [a for a in addresses if a.family == 4] + [a for a in reversed(addresses) if a.family == 6]


def remove_address(index: IfIndex, address: Address) -> Request:
    """Remove the address from the link."""
    body = IFADDRMSG.pack(ADDRESS_FAMILIES[address.family], address.prefix, 0, 0, index)
    return Request(_RTM_DELADDR, NLM_F_ACK, body + _own_and_peer(address))


def add_address(index: IfIndex, address: Address, lifetime: Lifetime) -> list[Request]:
    """Add the address to the link. The second request is only for one that has been added.

    An IPv6 address is not checked for duplicates again: it was checked before it was taken away. The flag for this
    (IFA_F_NODAD) is then removed, since the address did not have it. One that had failed the check, or had not passed
    it yet, is checked.
    """
    flags = address.flags & _SETTABLE[address.family]
    unchecked = address.flags & (_DADFAILED | _TENTATIVE | _NODAD)
    if address.family == 4 or unchecked:
        return [_add(index, address, lifetime, flags, NLM_F_EXCL)]
    return [
        _add(index, address, lifetime, flags | _NODAD, NLM_F_EXCL),
        _add(index, address, lifetime, flags, NLM_F_REPLACE),
    ]


def _add(index: IfIndex, address: Address, lifetime: Lifetime, flags: int, how: int) -> Request:
    family, prefix = ADDRESS_FAMILIES[address.family], address.prefix
    body = (
        IFADDRMSG.pack(family, prefix, 0, address.scope, index)
        + _attributes(address)
        + pack_attribute(_FLAGS, _U32.pack(flags))
        + pack_attribute(_CACHEINFO, _CACHE.pack(lifetime.preferred_s, lifetime.valid_s, 0, 0))
    )
    return Request(_RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | how, body)


def _attributes(address: Address) -> bytes:
    """Return the attributes that the kernel showed, without its flags and lifetimes."""
    if address.raw:
        return without_attributes(address.raw[IFADDRMSG.size :], _FLAGS, _CACHEINFO)
    broadcast = ipaddress.ip_address(address.broadcast).packed if address.broadcast else b""
    return _own_and_peer(address) + (pack_attribute(_BROADCAST, broadcast) if broadcast else b"")


def _own_and_peer(address: Address) -> bytes:
    own, peer = (ipaddress.ip_address(each).packed for each in (address.ip, address.peer or address.ip))
    return pack_attribute(_LOCAL, own) + pack_attribute(_ADDRESS, peer)
