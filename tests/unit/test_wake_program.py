"""The programs that decide what wakes a guest.

The kernel runs the programs in tests/integration/attach/test_wake_programs.py.
"""

import ipaddress

import pytest

from supervisor.core.attach.sleeping import filter_name
from supervisor.core.devices.bpf import INSTRUCTION, Op
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
