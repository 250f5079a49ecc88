"""The mode of a macvlan or macvtap, as rtnetlink shows and takes it (linux/if_link.h, drivers/net/macvlan.c).

A macvtap on a macvlan interface is made next to it, on the same parent. In another mode it could reach what the
interface must not reach. So it gets the mode of the interface and, in source mode, the same list of senders.
"""

import struct
from collections.abc import Mapping

from supervisor.core.formats.netlink import each_attribute, pack_attribute
from supervisor.core.links import MacvlanMode

PRIVATE, VEPA, BRIDGE, PASSTHRU, SOURCE = 1, 2, 4, 8, 16  # enum macvlan_mode
_NAMES = {PRIVATE: "private", VEPA: "vepa", BRIDGE: "bridge", PASSTHRU: "passthru", SOURCE: "source"}
_MODE, _FLAGS, _SENDERS_CHANGE, _SENDER, _SENDERS = 1, 2, 3, 4, 5  # IFLA_MACVLAN_…
_NODST = 2  # MACVLAN_FLAG_NODST
_SET = 3  # enum macvlan_macaddr_mode
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")

IN_BRIDGE = MacvlanMode(BRIDGE)


def name_of(mode: MacvlanMode) -> str:
    """Return the name that ip(8) and Docker have for the mode."""
    return _NAMES.get(mode.number, str(mode.number))


def parse_mode(data: Mapping[int, bytes]) -> MacvlanMode | None:
    """Return the mode that the attributes in IFLA_INFO_DATA say, or None if they say none."""
    number, flags = data.get(_MODE, b""), data.get(_FLAGS, b"")
    if len(number) != _U32.size:
        return None
    senders = sorted(value.hex(":") for kind, value in each_attribute(data.get(_SENDERS, b"")) if kind == _SENDER)
    nodst = len(flags) == _U16.size and bool(_U16.unpack(flags)[0] & _NODST)
    return MacvlanMode(_U32.unpack(number)[0], tuple(senders), nodst)


def pack_mode(mode: MacvlanMode) -> bytes:
    """Return the attributes of IFLA_INFO_DATA that set the mode."""
    packed = pack_attribute(_MODE, _U32.pack(mode.number))
    if mode.number != SOURCE:
        return packed
    senders = b"".join(pack_attribute(_SENDER, bytes.fromhex(mac.replace(":", ""))) for mac in mode.senders)
    return (
        packed
        + pack_attribute(_FLAGS, _U16.pack(_NODST if mode.nodst else 0))
        + pack_attribute(_SENDERS_CHANGE, _U32.pack(_SET))
        + pack_attribute(_SENDERS, senders)
    )
