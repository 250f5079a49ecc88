"""Device rules of cgroup v2: programs of type CGROUP_DEVICE, as data.

The kernel runs such a program on each access to a device and lets it happen when R0 is not 0 at the end. R1 leads to
three words: access << 16 | type, major, minor (linux/bpf.h: struct bpf_cgroup_dev_ctx). A rule is added to
the program of another author by a block in front of it, which allows one device. The block changes R0 only, so the rest
of the program runs as before. The rule is removed by removing that block.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor.core.devices.bpf import INSTRUCTION, LAST_REGISTER, R0, R1, R2, R3, R4, R5, Op, instruction, run
from supervisor.core.links import DeviceNumber

_ACCESS_AND_TYPE, _MAJOR, _MINOR = 0, 4, 8
_TYPES = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESSES = 7


def allow_block(device: DeviceNumber) -> bytes:
    """Says yes to any access to this character device, and else leaves all registers but R0 as they were."""
    return b"".join(
        (
            instruction(Op.LDX_WORD, R0, R1, offset=_MAJOR),
            instruction(Op.JNE, R0, offset=7, immediate=device.major),
            instruction(Op.LDX_WORD, R0, R1, offset=_MINOR),
            instruction(Op.JNE, R0, offset=5, immediate=device.minor),
            instruction(Op.LDX_WORD, R0, R1, offset=_ACCESS_AND_TYPE),
            instruction(Op.AND32, R0, immediate=0xFFFF),
            instruction(Op.JNE, R0, offset=2, immediate=_TYPES["c"]),
            instruction(Op.MOV32, R0, immediate=1),
            instruction(Op.EXIT),
        )
    )


BLOCK_BYTES = len(allow_block(DeviceNumber(0, 0)))


def allowed_devices(program: bytes) -> tuple[DeviceNumber, ...]:
    """Return the devices of the blocks in front of this program that `with_device` put there."""
    devices: list[DeviceNumber] = []
    while len(block := program[len(devices) * BLOCK_BYTES :][:BLOCK_BYTES]) == BLOCK_BYTES:
        device = DeviceNumber(_imm(block, 1), _imm(block, 3))
        if block != allow_block(device):
            break
        devices.append(device)
    return tuple(devices)


def with_device(program: bytes, device: DeviceNumber) -> bytes:
    """Return the program that also allows this device; the same program if it already does."""
    return program if device in allowed_devices(program) else allow_block(device) + program


def without_device(program: bytes, device: DeviceNumber) -> bytes:
    """Return the program without this device's block: byte for byte what it was before."""
    devices = allowed_devices(program)
    rest = program[len(devices) * BLOCK_BYTES :]
    return b"".join(allow_block(d) for d in devices if d != device) + rest


def is_reusable(program: bytes) -> bool:
    """Whether what the kernel shows of a program can be loaded again as it is.

    Not so where it shows nothing, has blinded the constants, or has put addresses of its own into calls and maps.
    """
    if not program:
        return False
    for code, registers, _, _ in INSTRUCTION.iter_unpack(program):
        if code in (Op.CALL, Op.LD_IMM64) or max(registers & 0xF, registers >> 4) > LAST_REGISTER:
            return False
    return True


def _imm(block: bytes, number: int) -> int:
    imm: int = INSTRUCTION.unpack_from(block, number * INSTRUCTION.size)[3]
    return imm


def opens(program: bytes, device: DeviceNumber) -> bool:
    """Return whether the program allows every access to this character device.

    The program is run here. If it has an instruction that is not known here, the answer is no.
    """
    numbers = {_MAJOR: device.major, _MINOR: device.minor}
    accesses = range(1, _ALL_ACCESSES + 1)
    return all(run(program, numbers | {_ACCESS_AND_TYPE: access << 16 | _TYPES["c"]}) for access in accesses)


@dataclass(frozen=True, slots=True)
class Rule:
    """One of a container's own rules; None stands for every number, and for both kinds of device."""

    type: str | None = None
    major: int | None = None
    minor: int | None = None
    access: int = _ALL_ACCESSES
    """A sum of 1 for mknod, 2 for read, 4 for write."""


_RULE = re.compile(r"([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})")


def parse_rule(text: str) -> Rule:
    """`c 10:200 rwm` as Docker's --device-cgroup-rule and cgroup v1 write it. ValueError otherwise."""
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!a} is no device rule")
    kind, major, minor, access = match.groups()
    return Rule(
        None if kind == "a" else kind,
        None if major == "*" else int(major),
        None if minor == "*" else int(minor),
        sum(_ACCESSES[letter] for letter in set(access)),
    )


RUNC_DEFAULTS = tuple(
    parse_rule(text)
    for text in (
        "c *:* m",
        "b *:* m",
        "c 1:3 rwm",  # null
        "c 1:8 rwm",  # random
        "c 1:7 rwm",  # full
        "c 5:0 rwm",  # tty
        "c 1:5 rwm",  # zero
        "c 1:9 rwm",  # urandom
        "c 5:1 rwm",  # console
        "c 136:* rwm",  # pts
        "c 5:2 rwm",  # ptmx
    )
)
"""What runc opens for every container (opencontainers/runc: libcontainer/specconv), for one whose program is hidden."""


def build_program(rules: Iterable[Rule]) -> bytes:
    """Return a whole program, which allows what these rules allow and nothing else."""
    rules = tuple(rules)
    if Rule() in rules:
        return b"".join(_answer(1))  # nothing may stand behind it: the kernel refuses what cannot be reached
    return b"".join((*_prologue(), *(_rule(rule) for rule in rules), *_answer(0)))


def _prologue() -> Iterator[bytes]:
    """R2 = type, R3 = access, R4 = major, R5 = minor."""
    yield instruction(Op.LDX_WORD, R2, R1, offset=_ACCESS_AND_TYPE)
    yield instruction(Op.MOV32_REG, R3, R2)
    yield instruction(Op.AND32, R2, immediate=0xFFFF)
    yield instruction(Op.RSH32, R3, immediate=16)
    yield instruction(Op.LDX_WORD, R4, R1, offset=_MAJOR)
    yield instruction(Op.LDX_WORD, R5, R1, offset=_MINOR)


def _rule(rule: Rule) -> bytes:
    """Compare, and skip to the next rule at the first difference; else say yes."""
    body = [*_answer(1)]
    if rule.access != _ALL_ACCESSES:
        # What is asked for must lie within what is open: access & open == access.
        body = [
            instruction(Op.MOV32_REG, R0, R3),
            instruction(Op.AND32, R0, immediate=rule.access),
            instruction(Op.JNE_REG, R0, R3, offset=len(body)),
            *body,
        ]
    kind = None if rule.type is None else _TYPES[rule.type]
    for register, value in ((R5, rule.minor), (R4, rule.major), (R2, kind)):
        if value is not None:
            body.insert(0, instruction(Op.JNE, register, offset=len(body), immediate=value))
    return b"".join(body)


def _answer(value: int) -> Iterator[bytes]:
    yield instruction(Op.MOV32, R0, immediate=value)
    yield instruction(Op.EXIT)
