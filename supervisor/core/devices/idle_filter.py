"""The filter of a socket that counts the packets of a guest that keep it awake, as data.

It is a classic BPF program (linux/filter.h, man 7 packet) on a packet socket on the guest's tap, which sees the frames
to and from the guest. What it takes counts: IP packets that are sent to one host. What it leaves: broadcasts and
multicasts, ARP, and neighbour discovery (RFC 4861), by which hosts only look whether the other one is still there.
"""

import struct

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
# linux/bpf_common.h: what is loaded is in host byte order.
_LOAD_BYTE, _LOAD_HALF, _IF_EQUAL, _IF_GREATER, _IF_AT_LEAST, _IF_ANY, _RETURN = 0x30, 0x28, 0x15, 0x25, 0x35, 0x45, 6
_IPV4, _IPV6, _ICMP6 = 0x0800, 0x86DD, 58
_FIRST, _LAST = 133, 137  # router solicitation … redirect

IDLE_FILTER = b"".join(
    _INSTRUCTION.pack(*each)
    for each in (
        (_LOAD_BYTE, 0, 0, 0),
        (_IF_ANY, 9, 0, 1),  # a broadcast or multicast: leave it
        (_LOAD_HALF, 0, 0, 12),
        (_IF_EQUAL, 6, 0, _IPV4),
        (_IF_EQUAL, 0, 6, _IPV6),
        (_LOAD_BYTE, 0, 0, 20),
        (_IF_EQUAL, 0, 3, _ICMP6),
        (_LOAD_BYTE, 0, 0, 54),
        (_IF_AT_LEAST, 0, 1, _FIRST),
        (_IF_GREATER, 0, 1, _LAST),
        (_RETURN, 0, 0, 1),  # take one octet of it
        (_RETURN, 0, 0, 0),  # leave it
    )
)
