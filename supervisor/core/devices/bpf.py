"""The BPF instructions that programs consist of (linux/bpf.h, Documentation/bpf/standardization)."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

INSTRUCTION = struct.Struct("<BBhi")
"""struct bpf_insn: operation, source << 4 | target, offset, immediate."""
R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)
LAST_REGISTER = 10
"""Programs use R0 to R10; one that shows R11 had its constants blinded by the kernel (bpf_jit_harden)."""


class Op(IntEnum):
    """Operation codes: linux/bpf_common.h and linux/bpf.h."""

    LDX_WORD = 0x61  # dst = *(u32 *)(src + off)
    LDX_BYTE = 0x71  # dst = *(u8 *)(src + off)
    ST_WORD = 0x62  # *(u32 *)(dst + off) = imm
    STX_WORD = 0x63  # *(u32 *)(dst + off) = src
    ADD64 = 0x07  # dst += imm
    LSH32 = 0x64  # dst <<= imm
    AND32 = 0x54  # dst &= imm
    RSH32 = 0x74  # dst >>= imm
    MOV32 = 0xB4  # dst = imm
    MOV64 = 0xB7
    MOV32_REG = 0xBC  # dst = src
    MOV64_REG = 0xBF
    JEQ = 0x15  # if dst == imm skip off
    JNE = 0x55
    JEQ_REG = 0x1D  # if dst == src skip off
    JNE_REG = 0x5D
    JEQ32 = 0x16  # the same for the lower 32 bits alone; a 64-bit comparison extends the sign of imm
    JNE32 = 0x56
    JA = 0x05  # skip off
    CALL = 0x85
    LD_IMM64 = 0x18
    EXIT = 0x95


def instruction(op: Op, target: int = 0, source: int = 0, *, offset: int = 0, immediate: int = 0) -> bytes:
    """One instruction, encoded."""
    return INSTRUCTION.pack(op, source << 4 | target, offset, immediate)


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump to a label, which is a text between the instructions."""

    op: Op
    to: str
    target: int = 0
    immediate: int = 0


def assemble(*parts: bytes | Jump | str) -> bytes:
    """Return the program of these instructions. Jumps go forward only, so every run ends."""
    at: dict[str, int] = {}
    position = 0
    for part in parts:
        if isinstance(part, str):
            at[part] = position
        else:
            position += 1
    return b"".join(_assemble(parts, at))


def _assemble(parts: Sequence[bytes | Jump | str], at: Mapping[str, int]) -> Iterator[bytes]:
    position = 0
    for part in parts:
        if isinstance(part, str):
            continue
        position += 1
        if isinstance(part, Jump):
            offset = at[part.to] - position
            yield instruction(part.op, part.target, offset=offset, immediate=part.immediate)
        else:
            yield part


def run(program: bytes, context: Mapping[int, int]) -> int | None:
    """What R0 is at the end; None where an instruction comes up that is not known here.

    `context` is what R1 points to: words by their offset. Jumps go forward only, so every run ends.
    """
    code = list(INSTRUCTION.iter_unpack(program))
    registers = [0] * 16
    position = 0
    while position < len(code):
        op, operands, offset, immediate = code[position]
        target, source = operands & 0xF, operands >> 4
        position += 1
        match op:
            case Op.LDX_WORD if source == R1 and offset in context:
                registers[target] = context[offset]
            case Op.AND32:
                registers[target] &= immediate & 0xFFFFFFFF
            case Op.RSH32:
                registers[target] = (registers[target] & 0xFFFFFFFF) >> (immediate & 31)
            case Op.MOV32 | Op.MOV64:
                registers[target] = immediate & 0xFFFFFFFF
            case Op.MOV32_REG | Op.MOV64_REG:
                registers[target] = registers[source]
            case Op.JNE | Op.JEQ if offset >= 0:
                position += offset if (registers[target] != immediate) == (op == Op.JNE) else 0
            case Op.JNE_REG | Op.JEQ_REG if offset >= 0:
                position += offset if (registers[target] != registers[source]) == (op == Op.JNE_REG) else 0
            case Op.JA if offset >= 0:
                position += offset
            case Op.EXIT:
                return registers[R0]
            case _:
                return None
    return None
