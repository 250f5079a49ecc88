"""The filter of a socket that counts the packets of a guest that keep it awake, as data.

It is a classic BPF program (linux/filter.h, man 7 packet) on a packet socket on the guest's tap, which sees the frames
to and from the guest. What it takes counts: IP packets that are sent to one host. What it leaves: broadcasts and
multicasts, ARP, and neighbour discovery (RFC 4861), by which hosts only look whether the other one is still there, and
the packets of vtapd's own health checks.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
# linux/bpf_common.h: A is the accumulator, X the index register; what is loaded is in host byte order.
_A_BYTE, _A_HALF, _A_HALF_AT_X = 0x30, 0x28, 0x48
_X_IPV4_HEADER, _X_NUMBER = 0xB1, 0x01
_IF_EQUAL, _IF_GREATER, _IF_AT_LEAST, _IF_ANY, _JUMP, _RETURN = 0x15, 0x25, 0x35, 0x45, 0x05, 0x06
_IPV4, _IPV6, _ICMP, _TCP, _ICMP6 = 0x0800, 0x86DD, 1, 6, 58
_FIRST, _LAST = 133, 137  # router solicitation … redirect
_ETHERNET_BYTES, _IPV6_BYTES = 14, 40
_SOURCE_PORT, _DESTINATION_PORT, _ECHO_IDENTIFIER = 0, 2, 4
"""Offsets in the TCP header (RFC 9293) and in an echo message (RFC 792, RFC 4443)."""
_NEXT = ""


@dataclass(frozen=True, slots=True)
class _Line:
    code: int
    number: int = 0
    yes: str = _NEXT
    """The label to go to if the comparison holds; for a jump: in any case."""
    no: str = _NEXT


def build_idle_filter(probes: Sequence[int] = ()) -> bytes:
    """Build the filter. `probes`: TCP ports and echo identifiers of health checks, whose packets it leaves.

    At most 64 of them: a jump of classic BPF reaches 255 instructions.
    """
    return _assemble(
        [
            _Line(_A_BYTE, 0),
            _Line(_IF_ANY, 1, yes="leave"),  # a broadcast or multicast
            _Line(_A_HALF, 12),
            _Line(_IF_EQUAL, _IPV6, yes="ipv6"),
            _Line(_IF_EQUAL, _IPV4, no="leave"),
            _Line(_X_IPV4_HEADER, _ETHERNET_BYTES),
            _Line(_A_BYTE, 23),
            _Line(_IF_EQUAL, _ICMP, yes="echo"),
            _Line(_JUMP, yes="transport"),
            "ipv6",
            _Line(_X_NUMBER, _IPV6_BYTES),
            _Line(_A_BYTE, 20),
            _Line(_IF_EQUAL, _ICMP6, no="transport"),
            _Line(_A_BYTE, 54),
            _Line(_IF_AT_LEAST, _FIRST, no="echo"),
            _Line(_IF_GREATER, _LAST, no="leave"),
            "echo",
            _Line(_A_HALF_AT_X, _ETHERNET_BYTES + _ECHO_IDENTIFIER),
            *(_Line(_IF_EQUAL, each, yes="leave") for each in probes),
            _Line(_JUMP, yes="take"),
            "transport",
            _Line(_IF_EQUAL, _TCP, no="take"),
            _Line(_A_HALF_AT_X, _ETHERNET_BYTES + _SOURCE_PORT),
            *(_Line(_IF_EQUAL, each, yes="leave") for each in probes),
            _Line(_A_HALF_AT_X, _ETHERNET_BYTES + _DESTINATION_PORT),
            *(_Line(_IF_EQUAL, each, yes="leave") for each in probes),
            "take",
            _Line(_RETURN, 1),  # one octet of it
            "leave",
            _Line(_RETURN, 0),
        ]
    )


def _assemble(program: Sequence[_Line | str]) -> bytes:
    """Return the program with distances in place of labels. A label is a string before the line that it names."""
    lines: list[_Line] = []
    places: dict[str, int] = {}
    for each in program:
        if isinstance(each, str):
            places[each] = len(lines)
        else:
            lines.append(each)
    return b"".join(_encode(line, at + 1, places) for at, line in enumerate(lines))


def _encode(line: _Line, following: int, places: dict[str, int]) -> bytes:
    yes, no = (places.get(label, following) - following for label in (line.yes, line.no))
    if line.code == _JUMP:
        return _INSTRUCTION.pack(_JUMP, 0, 0, yes)
    return _INSTRUCTION.pack(line.code, yes, no, line.number)
