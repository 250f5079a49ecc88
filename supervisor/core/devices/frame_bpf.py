"""What BPF programs of type SCHED_CLS that read network frames consist of (linux/bpf.h, linux/pkt_cls.h)."""

import struct

from supervisor.core.devices.bpf import R0, R1, R2, R3, R4, R6, R10, Op, instruction

MARK, PROTOCOL, VLAN_PRESENT, IFINDEX = 8, 16, 20, 40
"""Offsets in struct __sk_buff."""
ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD  # linux/if_ether.h
_SKB_LOAD_BYTES = 26  # enum bpf_func_id
_UNSPEC, _SHOT = -1, 2  # TC_ACT_…: the next filter decides; drop it


def load(at: int, slot: int, count: int = 4) -> tuple[bytes, ...]:
    """Load octets of the frame onto the stack. R0 is 0 afterwards, unless the frame is too short.

    R6 is the program's context. `at`: the register that says where they are.
    """
    return (
        instruction(Op.MOV64_REG, R1, R6),
        instruction(Op.MOV64_REG, R2, at),
        instruction(Op.MOV64_REG, R3, R10),
        instruction(Op.ADD64, R3, immediate=slot),
        instruction(Op.MOV64, R4, immediate=count),
        instruction(Op.CALL, immediate=_SKB_LOAD_BYTES),
    )


def verdicts() -> tuple[bytes | str, ...]:
    """End a program: at "pass" the frame goes on as if the program were not there, at "drop" it does not."""
    return (
        "pass",
        instruction(Op.MOV32, R0, immediate=_UNSPEC),
        instruction(Op.EXIT),
        "drop",
        instruction(Op.MOV32, R0, immediate=_SHOT),
        instruction(Op.EXIT),
    )


def word(octets: bytes) -> int:
    """Return the number that the processor reads from these four octets, as the immediate of an instruction."""
    number: int = struct.unpack("=i", octets)[0]
    return number


def in_network_order(number: int) -> int:
    """Return the 16-bit number that the processor reads if this one is in network byte order."""
    swapped: int = struct.unpack("=H", struct.pack("!H", number))[0]
    return swapped
