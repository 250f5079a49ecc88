"""Device programs: an added rule changes the verdict for its device only, and removing it restores every bit."""

from collections.abc import Iterator
from itertools import product
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.devices.bpf import R0, R1, R2, Op, instruction, run
from supervisor.core.devices.bpf_rules import (
    BLOCK_BYTES,
    RUNC_DEFAULTS,
    Rule,
    allow_block,
    allowed_devices,
    build_program,
    is_reusable,
    opens,
    parse_rule,
    with_device,
    without_device,
)
from supervisor.core.links import DeviceNumber

TAP = DeviceNumber(246, 7)
OTHER = DeviceNumber(246, 8)
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 10, 136, 200, 246, 247, 65535)
ACCESSES = range(1, 8)
KINDS = (1, 2)

numbers = st.integers(0, (1 << 20) - 1)
devices = st.builds(DeviceNumber, st.integers(0, 4095), numbers)
rules = st.builds(
    Rule,
    st.sampled_from(["b", "c", None]),
    st.none() | st.sampled_from(NUMBERS),
    st.none() | st.sampled_from(NUMBERS),
    st.integers(1, 7),
)
programs = st.lists(rules, max_size=6).map(build_program)


def verdict(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    answer = run(program, {0: access << 16 | kind, 4: major, 8: minor})
    assert answer is not None
    return bool(answer)


def says(rule: Rule, kind: int, access: int, major: int, minor: int) -> bool:
    return (
        rule.type in (None, {1: "b", 2: "c"}[kind])
        and rule.major in (None, major)
        and rule.minor in (None, minor)
        and access & rule.access == access
    )


def everything() -> Iterator[tuple[int, int, int, int]]:
    return product(KINDS, ACCESSES, NUMBERS, NUMBERS)


@given(st.lists(rules, max_size=6), st.sampled_from(KINDS), st.integers(1, 7), numbers, numbers)
def test_built_program_decides_as_its_rules(own: list[Rule], kind: int, access: int, major: int, minor: int) -> None:
    expected = any(says(rule, kind, access, major, minor) for rule in own)
    assert verdict(build_program(own), kind, access, major, minor) == expected


def test_runc_defaults_over_all_combinations() -> None:
    program = build_program(RUNC_DEFAULTS)
    for asked in everything():
        assert verdict(program, *asked) == any(says(rule, *asked) for rule in RUNC_DEFAULTS), asked


def test_added_rule_changes_only_its_device() -> None:
    own = [*RUNC_DEFAULTS, parse_rule("c 10:200 rw"), parse_rule("b 7:* r")]
    before = build_program(own)
    after = with_device(before, TAP)
    differing = {asked for asked in everything() if verdict(before, *asked) != verdict(after, *asked)}
    opened = {(2, access, TAP.major, TAP.minor) for access in ACCESSES}
    assert differing == opened - {(2, 1, TAP.major, TAP.minor)}, "mknod alone was open to every device before"
    assert all(verdict(after, *asked) for asked in opened)


@given(programs, st.lists(devices, max_size=4, unique=True))
def test_removed_rules_restore_the_program_exactly(program: bytes, added: list[DeviceNumber]) -> None:
    grown = program
    for device in added:
        grown = with_device(grown, device)
        assert with_device(grown, device) == grown, "adding it twice adds nothing"
        assert opens(grown, device)
    assert set(allowed_devices(grown)) == set(added) | set(allowed_devices(program))
    for device in added:
        grown = without_device(grown, device)
    assert grown == program


@given(programs, devices)
def test_removing_an_absent_rule_changes_nothing(program: bytes, device: DeviceNumber) -> None:
    assert without_device(program, device) == program


def test_block_is_found_only_whole_and_in_front() -> None:
    rest = build_program(RUNC_DEFAULTS)
    assert allowed_devices(allow_block(TAP) + allow_block(OTHER) + rest) == (TAP, OTHER)
    assert allowed_devices(allow_block(TAP)) == (TAP,)
    assert allowed_devices(rest + allow_block(TAP)) == ()
    assert allowed_devices(allow_block(TAP)[: BLOCK_BYTES - 8]) == ()


def test_opens_requires_every_access() -> None:
    assert not opens(build_program([parse_rule("c 246:7 rw")]), TAP)
    assert opens(build_program([parse_rule("c 246:* rwm")]), TAP)
    assert opens(build_program([Rule()]), TAP), "the program of a privileged container"
    assert not opens(b"", TAP), "a program that the kernel does not show"


def test_block_keeps_all_registers_but_r0() -> None:
    """The rest of the program finds its registers unchanged: R2 is set before the block, and read after it."""
    before = instruction(Op.MOV32, R2, immediate=42)
    rest = instruction(Op.MOV32_REG, R0, R2) + instruction(Op.EXIT)
    assert run(before + allow_block(TAP) + rest, {0: 2 << 16 | 2, 4: 1, 8: 3}) == 42


@pytest.mark.parametrize(
    ("program", "reusable"),
    [
        (build_program(RUNC_DEFAULTS), True),
        (b"", False),
        (instruction(Op.CALL, immediate=14) + instruction(Op.EXIT), False),
        (instruction(Op.LD_IMM64) + bytes(8) + instruction(Op.EXIT), False),
        (instruction(Op.MOV32, 11, immediate=1) + instruction(Op.EXIT), False),
        (instruction(Op.MOV32_REG, R0, 11) + instruction(Op.EXIT), False),
    ],
)
def test_program_is_reusable_only_without_calls_and_wide_loads(program: bytes, reusable: bool) -> None:
    assert is_reusable(program) is reusable


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 10:200 rwm", Rule("c", 10, 200)),
        ("c 10:* rw", Rule("c", 10, None, 6)),
        ("b *:* m", Rule("b", None, None, 1)),
        ("a *:* rwm", Rule()),
    ],
)
def test_docker_rules_are_parsed(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize("text", ["", "d 1:1 r", "c 1 r", "a", "c 1:1", "c 1:1 x", "c 1:1 rwmr", "c -1:1 r"])
def test_wrong_device_rule_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is no device rule"):
        parse_rule(text)


class TestInstructions:
    """Instructions that programs of others use, and ours do not."""

    CONTEXT: ClassVar = {0: 2 << 16 | 2, 4: 246, 8: 7}

    def value(self, *code: bytes) -> int | None:
        return run(b"".join(code), self.CONTEXT)

    @pytest.mark.parametrize(("op", "skips"), [(Op.JEQ, True), (Op.JNE, False)])
    def test_jumps_on_constants(self, op: Op, skips: bool) -> None:
        load = instruction(Op.LDX_WORD, R0, R1, offset=4)
        jump = instruction(op, R0, offset=1, immediate=246)
        rest = (instruction(Op.MOV64, R0, immediate=5), instruction(Op.EXIT))
        assert self.value(load, jump, *rest) == (246 if skips else 5)

    @pytest.mark.parametrize(("op", "skips"), [(Op.JEQ_REG, False), (Op.JNE_REG, True)])
    def test_jumps_on_registers(self, op: Op, skips: bool) -> None:
        load = instruction(Op.LDX_WORD, R0, R1, offset=4) + instruction(Op.LDX_WORD, R2, R1, offset=8)
        jump = instruction(op, R0, R2, offset=1)
        rest = (instruction(Op.MOV64_REG, R0, R2), instruction(Op.EXIT))
        assert self.value(load, jump, *rest) == (246 if skips else 7)

    def test_unconditional_jump(self) -> None:
        code = (instruction(Op.MOV32, R0, immediate=1), instruction(Op.JA, offset=1))
        assert self.value(*code, instruction(Op.MOV32, R0, immediate=2), instruction(Op.EXIT)) == 1

    @pytest.mark.parametrize(
        "code",
        [
            instruction(Op.CALL, immediate=1),
            instruction(Op.JA, offset=-1),
            instruction(Op.LDX_WORD, R0, R2, offset=4),
            instruction(Op.LDX_WORD, R0, R1, offset=12),
            b"",
        ],
    )
    def test_unsupported_code_gives_no_answer(self, code: bytes) -> None:
        assert self.value(code) is None
