"""The programs and filters that tell what wakes a guest and what keeps it awake.

The kernel runs the programs in tests/integration/attach/test_wake_programs.py.
"""

import ipaddress
import struct

import pytest

from supervisor.core.attach.sleeping import filter_name
from supervisor.core.devices.bpf import INSTRUCTION, Op
from supervisor.core.devices.idle_filter import IDLE_FILTER
from supervisor.core.devices.wake_program import Wakers, build_wake_program

IPS = ("172.17.0.2", "2001:db8::2")


def immediates(program: bytes) -> set[int]:
    return {immediate & 0xFFFFFFFF for _, _, _, immediate in INSTRUCTION.iter_unpack(program)}


@pytest.mark.parametrize("keeps_state", [True, False])
def test_program_looks_for_each_address(keeps_state: bool) -> None:
    program = build_wake_program(Wakers(IPS, keeps_state))
    for packed in (ipaddress.ip_address(ip).packed for ip in IPS):
        words = {int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)}
        assert words <= immediates(program)


def test_each_set_of_wakers_has_a_filter_of_its_own() -> None:
    wakers = (Wakers(IPS, False), Wakers(IPS, True), Wakers(IPS[:1], True), Wakers((), True))
    assert len(set(map(filter_name, wakers))) == len(wakers)


def test_jumps_of_a_program_go_forward_and_stay_in_it() -> None:
    program = build_wake_program(Wakers(IPS * 20, False))
    code = list(INSTRUCTION.iter_unpack(program))
    jumps = {Op.JEQ, Op.JNE, Op.JEQ32, Op.JNE32, Op.JA}
    assert all(0 <= offset < len(code) - at for at, (op, _, offset, _) in enumerate(code) if op in jumps)


def takes(frame: bytes) -> bool:
    """Run the classic filter on a frame."""
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", IDLE_FILTER))
    loaded, at = 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        match op:
            case 0x30:
                loaded = frame[k]
            case 0x28:
                loaded = int.from_bytes(frame[k : k + 2], "big")
            case 0x06:
                return k > 0
            case _:
                holds = {0x15: loaded == k, 0x25: loaded > k, 0x35: loaded >= k, 0x45: bool(loaded & k)}[op]
                at += yes if holds else no


def frame(destination: int, ethertype: int, next_header: int = 6, icmp_type: int = 0) -> bytes:
    head = bytes([destination]) + bytes(11) + ethertype.to_bytes(2, "big")
    return head + bytes(6) + bytes([next_header]) + bytes(33) + bytes([icmp_type]) + bytes(20)


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        (True, frame(0x02, 0x0800)),
        (True, frame(0x02, 0x86DD)),
        (True, frame(0x02, 0x86DD, 58, 128)),
        (True, frame(0x02, 0x86DD, 58, 138)),
        (False, frame(0x02, 0x86DD, 58, 133)),
        (False, frame(0x02, 0x86DD, 58, 137)),
        (False, frame(0x02, 0x0806)),
        (False, frame(0xFF, 0x0800)),
        (False, frame(0x01, 0x0800)),
        (False, frame(0x33, 0x86DD)),
    ],
)
def test_only_packets_between_two_hosts_keep_a_guest_awake(counts: bool, seen: bytes) -> None:
    assert takes(seen) is counts
