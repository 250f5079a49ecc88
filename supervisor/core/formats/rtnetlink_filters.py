"""The rtnetlink requests for BPF programs on a link's hooks (man 8 tc-bpf; linux/pkt_sched.h, pkt_cls.h).

The hooks belong to a queueing discipline, clsact, of which a link has one at the most. Programs that share it are
distinguished by the priority and the handle of their filters.
"""

import struct

from supervisor.core.formats.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    Request,
    pack_attribute,
    unpack_attributes,
)
from supervisor.core.formats.rtnetlink import text_of
from supervisor.core.links import IfIndex

_TCMSG = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info
_U32 = struct.Struct("=I")
_NEWQDISC, _DELQDISC, _GETQDISC, _NEWTFILTER, _DELTFILTER, _GETTFILTER = 36, 37, 38, 44, 45, 46  # RTM_…
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000  # TC_H_…
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""The hooks: of what arrives on a link, and of what is sent on it."""
_KIND, _OPTIONS = 1, 2  # TCA_…
_FD, _NAME, _FLAGS = 6, 7, 8  # TCA_BPF_…
_DIRECT_ACTION = 1  # TCA_BPF_FLAG_ACT_DIRECT
_BPF = pack_attribute(_KIND, b"bpf\0")
_OF_CLSACT = pack_attribute(_KIND, b"clsact\0")
"""Without this a request would mean the qdisc ingress, too, which has the same handle."""
PRIORITY, _HANDLE = 118, 1
"""Of vtapd's filter. Programs that number theirs from 1 on come before it."""
_ETH_P_ALL = 0x0003
_INFO = PRIORITY << 16 | struct.unpack("=H", struct.pack("!H", _ETH_P_ALL))[0]


def add_clsact(index: IfIndex) -> Request:
    """Give the link its hooks. The kernel answers EEXIST if it has them."""
    body = _TCMSG.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + _OF_CLSACT
    return Request(_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)


def show_qdiscs() -> Request:
    """Ask for the queueing disciplines of all links. The answer to a question about one goes to all who listen."""
    return Request(_GETQDISC, NLM_F_DUMP, _TCMSG.pack(0, 0, 0, 0, 0))


def parse_clsact(payload: bytes) -> IfIndex | None:
    """Return the link whose hooks this queueing discipline is; None if it is another one."""
    _, index, handle, _, _ = _TCMSG.unpack_from(payload)
    kind = unpack_attributes(payload[_TCMSG.size :]).get(_KIND)
    return IfIndex(index) if (handle, text_of(kind)) == (_CLSACT_HANDLE, "clsact") else None


def remove_clsact(index: IfIndex) -> Request:
    """Remove the link's hooks, with everything on them."""
    return Request(_DELQDISC, NLM_F_ACK, _TCMSG.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + _OF_CLSACT)


def set_filter(index: IfIndex, hook: int, descriptor: int, name: str) -> Request:
    """Put the program of this descriptor on the link's hook, in place of vtapd's program that is there."""
    options = (
        pack_attribute(_FD, _U32.pack(descriptor))
        + pack_attribute(_NAME, name.encode() + b"\0")
        + pack_attribute(_FLAGS, _U32.pack(_DIRECT_ACTION))
    )
    body = _TCMSG.pack(0, index, _HANDLE, hook, _INFO) + _BPF + pack_attribute(_OPTIONS, options)
    return Request(_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE, body)


def show_filter(index: IfIndex, hook: int) -> Request:
    """Ask for vtapd's filter on the link's hook. The kernel answers an error if there is none."""
    return Request(_GETTFILTER, NLM_F_ACK, _TCMSG.pack(0, index, _HANDLE, hook, _INFO) + _BPF)


def remove_filter(index: IfIndex, hook: int) -> Request:
    """Remove vtapd's filter from the link's hook. The kernel answers ENOENT or EINVAL if there is none."""
    return Request(_DELTFILTER, NLM_F_ACK, _TCMSG.pack(0, index, _HANDLE, hook, _INFO) + _BPF)


def show_filters(index: IfIndex) -> tuple[Request, Request]:
    """Ask for all filters on the link's hooks, for those of ingress and of egress."""
    ingress, egress = (Request(_GETTFILTER, NLM_F_DUMP, _TCMSG.pack(0, index, 0, p, 0)) for p in (INGRESS, EGRESS))
    return ingress, egress


def is_own(payload: bytes) -> bool:
    """Return whether a filter, or the list that it is in, has the priority of vtapd's."""
    info: int = _TCMSG.unpack_from(payload)[4]
    return info >> 16 == PRIORITY


def parse_filter_name(payload: bytes) -> str:
    """Return the name of a filter that is a BPF program; empty for another one."""
    found = unpack_attributes(payload[_TCMSG.size :])
    return text_of(unpack_attributes(found.get(_OPTIONS, b"")).get(_NAME))
