"""The rtnetlink requests that change links (man 7 rtnetlink; linux/if_link.h).

They are written here, and not by a library such as pyroute2, because an attach waits for them: pyroute2 sets up an
event loop for each namespace, which takes ten times as long as the rest of an attach.
"""

import struct

from supervisor.core.formats.macvlan import IN_BRIDGE, pack_mode
from supervisor.core.formats.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, pack_attribute
from supervisor.core.formats.rtnetlink import ADDRESS_FAMILIES, IFINFOMSG, SKIP_STATISTICS
from supervisor.core.links import IfIndex, MacvlanMode

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO, _IFLA_AF_SPEC = 1, 3, 4, 5, 18, 26
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE = 8, 1
_IFF_UP, _IFF_ALLMULTI = 0x1, 0x200  # linux/if.h
_U32 = struct.Struct("=I")


def create_macvlan(kind: str, name: str, parent: IfIndex, mtu: int, *, mac: str = "", index: int = 0) -> Request:
    """Create a macvtap or macvlan in bridge mode, which lets all multicast through.

    Without a `mac` the kernel chooses one at random, without an `index` the next free one.
    """
    body = (
        IFINFOMSG.pack(0, 0, index, _IFF_ALLMULTI, _IFF_ALLMULTI)
        + pack_attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + pack_attribute(_IFLA_LINK, _U32.pack(parent))
        + pack_attribute(_IFLA_MTU, _U32.pack(mtu))
        + (pack_attribute(_IFLA_ADDRESS, _octets(mac)) if mac else b"")
        + _mode_of(kind, IN_BRIDGE)
    )
    return Request(_RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)


def set_mode(name: str, mode: MacvlanMode) -> Request:
    """Set the mode of the macvtap of this name. The kernel refuses passthru, which is set when a link is created."""
    return _set(name, 0, _mode_of("macvtap", mode))


def _mode_of(kind: str, mode: MacvlanMode) -> bytes:
    info = pack_attribute(_IFLA_INFO_KIND, kind.encode()) + pack_attribute(_IFLA_INFO_DATA, pack_mode(mode))
    return pack_attribute(_IFLA_LINKINFO, info)


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


def delete_link(link: str | IfIndex) -> Request:
    """Delete the link."""
    return Request(_RTM_DELLINK, NLM_F_ACK, _identify(link, 0))


def show_link(link: str | IfIndex) -> Request:
    """Ask for the link, without its statistics."""
    return Request(_RTM_GETLINK, 0, _identify(link, 0) + SKIP_STATISTICS)


def _set(link: str | IfIndex, flags: int, attributes: bytes) -> Request:
    return Request(_RTM_NEWLINK, NLM_F_ACK, _identify(link, flags) + attributes)


def _identify(link: str | IfIndex, flags: int) -> bytes:
    """Return the begin of a message about a link, by its name or index. `flags`: those to set."""
    index, named = (0, pack_attribute(_IFLA_IFNAME, link.encode() + b"\0")) if isinstance(link, str) else (link, b"")
    return IFINFOMSG.pack(0, 0, index, flags, flags) + named


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
