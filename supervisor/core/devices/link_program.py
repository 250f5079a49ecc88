"""The programs of the private link between a guest and its container, as data.

A macvtap cannot talk to the interface that it is on. A program makes a way between the two. It is of type SCHED_CLS, in
direct-action mode, on the egress hooks of both (linux/bpf.h: struct __sk_buff; linux/pkt_cls.h):

- What the guest sends to the link's address goes to the interface, as if it had arrived there. The program writes the
  interface's MAC into it, and marks it. What the guest sends from that address is dropped: it is the container's.
- What the guest broadcasts to DHCP servers goes there too, for vtapd, and not to the network.
- What the container sends from the link's address goes to the tap, as if it had arrived there: to the guest. Dropped
  is the kernel's message that nothing listens on the port of DNS: while vtapd is being restarted, the guest's resolver
  is to ask again, as after a packet that was lost.
- Everything else goes on as if the program were not there.

Only these two are to use the address. So a second program, the guard, is on the interface's ingress hook. It drops what
comes from the network with this address as its source or its destination, and lets pass what has the mark.

This holds for IPv4 and for ARP: the container's kernel answers the guest's questions about the address.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from supervisor.core.devices.bpf import R0, R1, R2, R3, R4, R5, R6, R7, R8, R10, Jump, Op, assemble, instruction
from supervisor.core.devices.frame_bpf import (
    ETH_P_ARP,
    ETH_P_IP,
    IFINDEX,
    MARK,
    PROTOCOL,
    VLAN_PRESENT,
    in_network_order,
    load,
    verdicts,
    word,
)
from supervisor.core.links import IfIndex

_SOURCES = {ETH_P_IP: (26, 30), ETH_P_ARP: (28, 38)}
"""Where a frame has its source's IP address, and its destination's (RFC 791, RFC 826)."""
_BROADCAST = b"\xff" * 4
# Where these octets are in a frame without IP options, a mask, and what they are then (RFC 791, RFC 768).
_FRAGMENT_TO_PROTOCOL, _UDP_IN_ONE_PIECE = 20, (b"\x3f\xff\0\xff", b"\0\0\0\x11")
_PORTS, _TO_DHCP_SERVER = 34, (b"\0\0\xff\xff", b"\0\0\0\x43")
# A message of ICMP has the packet that it is about behind its own header (RFC 792).
_ICMP, _ICMP_TYPE, _PORT_UNREACHABLE = (b"\0\0\0\xff", b"\0\0\0\x01"), 34, (b"\xff\xff\0\0", b"\3\3\0\0")
_PORTS_INSIDE, _TO_DNS_SERVER = 62, (b"\0\0\xff\xff", b"\0\0\0\x35")
_SKB_STORE_BYTES, _REDIRECT = 9, 23  # enum bpf_func_id
_F_INGRESS = 1  # BPF_F_INGRESS
_FROM_GUEST = 0x76746170
"""The mark of what a guest has sent to the address: from a network, nothing comes with a mark."""
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """What the program of one private link depends on."""

    address: str
    """The IPv4 address by which the guest reaches its container."""
    interface: IfIndex
    interface_mac: str
    tap: IfIndex


def build_link_program(ends: LinkEnds) -> bytes:
    """Return the program for the egress hooks of both ends."""
    address = word(ipaddress.IPv4Address(ends.address).packed)
    mac = bytes.fromhex(ends.interface_mac.replace(":", ""))
    return assemble(
        *_read_addresses(),
        instruction(Op.LDX_WORD, R2, R6, offset=IFINDEX),
        Jump(Op.JEQ, "from guest", R2, ends.tap),
        Jump(Op.JNE32, "pass", R7, address),
        *_expect(_FRAGMENT_TO_PROTOCOL, _ICMP, "to guest"),
        *_expect(_ICMP_TYPE, _PORT_UNREACHABLE, "to guest"),
        *_expect(_PORTS_INSIDE, _TO_DNS_SERVER, "to guest"),
        Jump(Op.JA, "drop"),
        "to guest",
        *_redirect(ends.tap),
        "from guest",
        Jump(Op.JEQ32, "drop", R7, address),
        Jump(Op.JEQ32, "marked", R8, address),
        Jump(Op.JNE32, "pass", R8, word(_BROADCAST)),
        *_expect(_FRAGMENT_TO_PROTOCOL, _UDP_IN_ONE_PIECE, "pass"),
        *_expect(_PORTS, _TO_DHCP_SERVER, "pass"),
        Jump(Op.JA, "to container"),
        "marked",
        *_set_mark(_FROM_GUEST),
        "to container",
        instruction(Op.ST_WORD, R10, offset=-16, immediate=word(mac[:4])),
        instruction(Op.ST_WORD, R10, offset=-12, immediate=word(mac[4:] + b"\0\0")),
        instruction(Op.MOV64_REG, R1, R6),
        instruction(Op.MOV64, R2, immediate=0),
        instruction(Op.MOV64_REG, R3, R10),
        instruction(Op.ADD64, R3, immediate=-16),
        instruction(Op.MOV64, R4, immediate=len(mac)),
        instruction(Op.MOV64, R5, immediate=0),
        instruction(Op.CALL, immediate=_SKB_STORE_BYTES),
        Jump(Op.JNE, "drop", R0, 0),
        *_redirect(ends.interface),
        *verdicts(),
    )


def build_guard_program(address: str) -> bytes:
    """Return the program for the ingress hook of the interface."""
    own = word(ipaddress.IPv4Address(address).packed)
    return assemble(
        *_read_addresses(),
        Jump(Op.JEQ32, "drop", R7, own),
        Jump(Op.JNE32, "pass", R8, own),
        instruction(Op.LDX_WORD, R2, R6, offset=MARK),
        Jump(Op.JNE32, "drop", R2, _FROM_GUEST),
        *_set_mark(0),
        *verdicts(),
    )


def label_of(program: bytes) -> str:
    """Return the name of a filter with this program. Another program has another name."""
    return f"vtapd-{hashlib.sha256(program).hexdigest()[:16]}"


@lru_cache(_REMEMBERED)
def link_label(ends: LinkEnds) -> str:
    """Return the name of the filter with the program of these ends."""
    return label_of(build_link_program(ends))


@lru_cache(_REMEMBERED)
def guard_label(address: str) -> str:
    """Return the name of the filter with the program for the ingress hook."""
    return label_of(build_guard_program(address))


def _read_addresses() -> tuple[bytes | Jump | str, ...]:
    """R6 = the context, R7 and R8 = the frame's source and destination; "pass" for a frame that has none."""
    return (
        instruction(Op.MOV64_REG, R6, R1),
        instruction(Op.LDX_WORD, R2, R6, offset=VLAN_PRESENT),
        Jump(Op.JNE, "pass", R2, 0),  # it belongs to a network of its own
        instruction(Op.LDX_WORD, R2, R6, offset=PROTOCOL),
        *_offsets(ETH_P_IP),
        Jump(Op.JEQ, "read", R2, in_network_order(ETH_P_IP)),
        *_offsets(ETH_P_ARP),
        Jump(Op.JNE, "pass", R2, in_network_order(ETH_P_ARP)),
        "read",
        *load(R7, -8),
        Jump(Op.JNE, "pass", R0, 0),  # it ends before that
        *load(R8, -4),
        Jump(Op.JNE, "pass", R0, 0),
        instruction(Op.LDX_WORD, R7, R10, offset=-8),
        instruction(Op.LDX_WORD, R8, R10, offset=-4),
    )


def _set_mark(mark: int) -> tuple[bytes, bytes]:
    return instruction(Op.MOV32, R2, immediate=mark), instruction(Op.STX_WORD, R6, R2, offset=MARK)


def _offsets(protocol: int) -> tuple[bytes, bytes]:
    """R7 and R8 = where the addresses are."""
    source, destination = _SOURCES[protocol]
    return instruction(Op.MOV64, R7, immediate=source), instruction(Op.MOV64, R8, immediate=destination)


def _expect(at: int, bits: tuple[bytes, bytes], otherwise: str) -> tuple[bytes | Jump, ...]:
    """Jump to `otherwise`, unless the four octets there have these bits, in what the mask selects."""
    mask, value = bits
    return (
        instruction(Op.MOV64, R7, immediate=at),
        *load(R7, -8),
        Jump(Op.JNE, otherwise, R0, 0),
        instruction(Op.LDX_WORD, R7, R10, offset=-8),
        instruction(Op.AND32, R7, immediate=word(mask)),
        Jump(Op.JNE32, otherwise, R7, word(value)),
    )


def _redirect(index: IfIndex) -> tuple[bytes, ...]:
    return (
        instruction(Op.MOV64, R1, immediate=index),
        instruction(Op.MOV64, R2, immediate=_F_INGRESS),
        instruction(Op.CALL, immediate=_REDIRECT),
        instruction(Op.EXIT),
    )
