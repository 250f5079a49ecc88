"""The rtnetlink requests that change links and addresses (man 7 rtnetlink; linux/if_link.h, if_addr.h).

They are written here, and not by pyroute2, because an attach waits for them: pyroute2 sets up an event loop for each
namespace, which takes ten times as long as the rest of an attach.
"""

import ipaddress
import struct

from supervisor.core.formats.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, pack_attribute
from supervisor.core.formats.rtnetlink import ADDRESS_FAMILIES, IFADDRMSG, IFINFOMSG, SKIP_STATISTICS
from supervisor.core.model import Address, IfIndex

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_DELADDR = 16, 17, 18, 21
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO, _IFLA_AF_SPEC = 1, 3, 4, 5, 18, 26
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_MACVLAN_MODE, _MACVLAN_MODE_BRIDGE = 1, 4
_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP, _IFF_ALLMULTI = 0x1, 0x200  # linux/if.h
_U32 = struct.Struct("=I")


def create_macvlan(kind: str, name: str, parent: IfIndex, mtu: int, *, mac: str = "", index: int = 0) -> Request:
    """Create a macvtap or macvlan in bridge mode that lets all multicast through.

    Without a `mac` the kernel chooses one at random, without an `index` the next free one.
    """
    mode = pack_attribute(_IFLA_MACVLAN_MODE, _U32.pack(_MACVLAN_MODE_BRIDGE))
    info = pack_attribute(_IFLA_INFO_KIND, kind.encode()) + pack_attribute(_IFLA_INFO_DATA, mode)
    body = (
        IFINFOMSG.pack(0, 0, index, _IFF_ALLMULTI, _IFF_ALLMULTI)
        + pack_attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + pack_attribute(_IFLA_LINK, _U32.pack(parent))
        + pack_attribute(_IFLA_MTU, _U32.pack(mtu))
        + (pack_attribute(_IFLA_ADDRESS, _octets(mac)) if mac else b"")
        + pack_attribute(_IFLA_LINKINFO, info)
    )
    return Request(_RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)


def forgo_ipv6(link: str | IfIndex) -> Request:
    """Keep the kernel from giving the link an IPv6 address.

    The kernel does not take this when it creates a link, and it comes too late once the link is up.
    """
    mode = pack_attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    return _set(link, 0, pack_attribute(_IFLA_AF_SPEC, pack_attribute(ADDRESS_FAMILIES[6], mode)))


def raise_link(link: str | IfIndex, mtu: int) -> Request:
    """Set the link's MTU and bring it up."""
    return _set(link, _IFF_UP, pack_attribute(_IFLA_MTU, _U32.pack(mtu)))


def set_mac(index: IfIndex, mac: str) -> Request:
    """Set the link's MAC."""
    return _set(index, 0, pack_attribute(_IFLA_ADDRESS, _octets(mac)))


def delete_link(index: IfIndex) -> Request:
    """Delete the link."""
    return Request(_RTM_DELLINK, NLM_F_ACK, IFINFOMSG.pack(0, 0, index, 0, 0))


def remove_address(index: IfIndex, address: Address) -> Request:
    """Remove the address from the link."""
    body = IFADDRMSG.pack(ADDRESS_FAMILIES[address.family], address.prefix, 0, 0, index)
    ip = ipaddress.ip_address(address.ip).packed
    return Request(_RTM_DELADDR, NLM_F_ACK, body + pack_attribute(_IFA_LOCAL, ip) + pack_attribute(_IFA_ADDRESS, ip))


def show_link(name: str) -> Request:
    """Ask for the link of this name, without its statistics."""
    named = pack_attribute(_IFLA_IFNAME, name.encode() + b"\0")
    return Request(_RTM_GETLINK, 0, bytes(IFINFOMSG.size) + named + SKIP_STATISTICS)


def _set(link: str | IfIndex, flags: int, attributes: bytes) -> Request:
    index, named = (0, pack_attribute(_IFLA_IFNAME, link.encode() + b"\0")) if isinstance(link, str) else (link, b"")
    return Request(_RTM_NEWLINK, NLM_F_ACK, IFINFOMSG.pack(0, 0, index, flags, flags) + named + attributes)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
