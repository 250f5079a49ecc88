"""The program that lets only those frames reach the tap of a guest that sleeps that wake it, as data.

It is of type SCHED_CLS, in direct-action mode, on the ingress hook of the tap (`core.devices.link_program` says more of
such programs). What passes waits in the tap's queue, so that a queue that is not empty wakes the guest, and QEMU gets
the frame as its first one. What does not pass is dropped, so that broadcasts can neither wake a guest nor fill its
queue. What passes:

- an ARP request for one of the guest's addresses, or one that was sent to the guest alone
- a neighbour solicitation (RFC 4861) for one of its addresses
- of what is sent to the guest alone: all IP packets, if its state was kept. If it was not, those that can begin
  something: a TCP SYN, a UDP datagram, an ICMP echo request. The end of an old connection does not wake it.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.core.devices.bpf import R0, R1, R2, R6, R7, R8, R10, Jump, Op, assemble, instruction
from supervisor.core.devices.frame_bpf import (
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    PROTOCOL,
    VLAN_PRESENT,
    in_network_order,
    load,
    verdicts,
    word,
)

_GROUP = word(b"\1\0\0\0")  # the bit of the destination that multicasts and broadcasts have (IEEE 802)
# Where things are in a frame (RFC 826, 791, 8200, 9293, 792, 4443, 4861).
_ARP_OPERATION, _ARP_TARGET, _REQUEST = 20, 38, word(b"\0\1\0\0")
_HEADER_4, _HEADER_6 = 14, 14 + 40
_FRAGMENT_OFFSET, _IP_PROTOCOL, _NEXT_HEADER = 20, 23, 20
_TCP_FLAGS, _FIN, _SYN, _RST, _ACK = 13, 1, 2, 4, 16
_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_ECHO, _ECHO_6, _SOLICITATION = 8, 128, 135
_SOLICITED = _HEADER_6 + 8

_Parts = tuple[bytes | Jump | str, ...]


@dataclass(frozen=True, slots=True)
class Wakers:
    """What wakes one guest."""

    ips: tuple[str, ...]
    """Its addresses, of both versions of IP."""
    keeps_state: bool
    """Its state was kept."""


def build_wake_program(wakers: Wakers) -> bytes:
    """Return the program for the ingress hook of the guest's tap."""
    addresses = [ipaddress.ip_address(ip).packed for ip in wakers.ips]
    return assemble(
        instruction(Op.MOV64_REG, R6, R1),
        instruction(Op.LDX_WORD, R2, R6, offset=VLAN_PRESENT),
        Jump(Op.JNE, "drop", R2, 0),  # it belongs to a network of its own
        *_load_word(0),
        instruction(Op.MOV64_REG, R8, R2),
        instruction(Op.AND32, R8, immediate=_GROUP),  # R8: it was sent to more than the guest
        instruction(Op.LDX_WORD, R2, R6, offset=PROTOCOL),
        Jump(Op.JEQ, "arp", R2, in_network_order(ETH_P_ARP)),
        Jump(Op.JEQ, "ipv6", R2, in_network_order(ETH_P_IPV6)),
        Jump(Op.JNE, "drop", R2, in_network_order(ETH_P_IP)),
        Jump(Op.JNE, "drop", R8, 0),
        *(_end("pass") if wakers.keeps_state else _begins_something_4()),
        "arp",
        *_arp([each for each in addresses if len(each) == 4]),
        "ipv6",
        *_ipv6([each for each in addresses if len(each) == 16], keeps_state=wakers.keeps_state),
        *verdicts(),
    )


def _arp(ips: Iterable[bytes]) -> _Parts:
    return (
        *_load_word(_ARP_OPERATION),
        instruction(Op.AND32, R2, immediate=word(b"\xff\xff\0\0")),
        Jump(Op.JNE32, "drop", R2, _REQUEST),
        Jump(Op.JEQ, "pass", R8, 0),
        *_load_word(_ARP_TARGET),
        *(Jump(Op.JEQ32, "pass", R2, word(ip)) for ip in ips),
        *_end("drop"),
    )


def _begins_something_4() -> _Parts:
    return (
        *_load_word(_FRAGMENT_OFFSET),
        instruction(Op.AND32, R2, immediate=word(b"\x1f\xff\0\0")),
        Jump(Op.JNE, "drop", R2, 0),  # a later fragment, which does not say what it belongs to
        *_load_byte(_HEADER_4),
        instruction(Op.AND32, R2, immediate=0x0F),  # the length of the header, in words of 32 bits
        instruction(Op.LSH32, R2, immediate=2),
        instruction(Op.MOV64_REG, R8, R2),
        instruction(Op.ADD64, R8, immediate=_HEADER_4),  # R8: where what the packet carries begins
        *_load_byte(_IP_PROTOCOL),
        *_begins_something((_ICMP, _ECHO)),
    )


def _ipv6(ips: list[bytes], *, keeps_state: bool) -> _Parts:
    return (
        *_load_byte(_NEXT_HEADER),
        Jump(Op.JNE, "no solicitation", R2, _ICMP6),
        *_load_byte(_HEADER_6),
        Jump(Op.JNE, "no solicitation", R2, _SOLICITATION),
        *(part for number, ip in enumerate(ips) for part in _solicits(ip, f"other {number}")),
        *_end("drop"),
        "no solicitation",
        Jump(Op.JNE, "drop", R8, 0),
        *(_end("pass") if keeps_state else _begins_something_6()),
    )


def _solicits(ip: bytes, otherwise: str) -> _Parts:
    compared = (
        part
        for at in range(0, len(ip), 4)
        for part in (*_load_word(_SOLICITED + at), Jump(Op.JNE32, otherwise, R2, word(ip[at : at + 4])))
    )
    return *compared, *_end("pass"), otherwise


def _begins_something_6() -> _Parts:
    return (
        instruction(Op.MOV64, R8, immediate=_HEADER_6),
        *_load_byte(_NEXT_HEADER),
        *_begins_something((_ICMP6, _ECHO_6)),
    )


def _begins_something(echo: tuple[int, int]) -> _Parts:
    """Judge what a packet carries. R2: its protocol; R8: where it begins."""
    protocol, request = echo
    return (
        Jump(Op.JEQ, "pass", R2, _UDP),
        Jump(Op.JEQ, f"echo {protocol}", R2, protocol),
        Jump(Op.JNE, "drop", R2, _TCP),
        *_load_byte_at(R8, _TCP_FLAGS),
        instruction(Op.AND32, R2, immediate=_FIN | _SYN | _RST | _ACK),
        Jump(Op.JEQ, "pass", R2, _SYN),
        *_end("drop"),
        f"echo {protocol}",
        *_load_byte_at(R8, 0),
        Jump(Op.JEQ, "pass", R2, request),
        *_end("drop"),
    )


def _end(verdict: str) -> _Parts:
    return (Jump(Op.JA, verdict),)


def _load_word(at: int) -> _Parts:
    """R2 = the four octets there; "drop" if the frame ends before them."""
    return (
        instruction(Op.MOV64, R7, immediate=at),
        *load(R7, -8),
        Jump(Op.JNE, "drop", R0, 0),
        instruction(Op.LDX_WORD, R2, R10, offset=-8),
    )


def _load_byte(at: int) -> _Parts:
    """R2 = the octet there; "drop" if the frame ends before it."""
    return (instruction(Op.MOV64, R7, immediate=at), *_load_at_r7())


def _load_byte_at(register: int, offset: int) -> _Parts:
    """R2 = the octet so far behind where the register says; "drop" if the frame ends before it."""
    where = instruction(Op.MOV64_REG, R7, register), instruction(Op.ADD64, R7, immediate=offset)
    return (*where, *_load_at_r7())


def _load_at_r7() -> _Parts:
    return (*load(R7, -8, 1), Jump(Op.JNE, "drop", R0, 0), instruction(Op.LDX_BYTE, R2, R10, offset=-8))
