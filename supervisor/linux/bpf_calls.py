"""Load BPF programs."""

import ctypes
import errno
import fcntl
import os
import struct

from supervisor.linux.libc import IS_X86, call, libc

_SYS_BPF = 321 if IS_X86 else 280
# linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_LOAD = struct.Struct("<IIQQIIQII16s")  # prog_type, insn_cnt, insns, license, log_level, …, prog_name
_BPF_INSTRUCTION_BYTES = 8
BPF_ATTR_BYTES = 144
"""The size of union bpf_attr in the newest kernel. Older ones accept zeros after what they know; 6.17 needs it all."""
BPF_NAME = b"vtapd"
"""The name of every program that is loaded here."""
_BPF_LICENSE = ctypes.create_string_buffer(b"Apache-2.0")
_BPF_LOAD_TRIES = 5


def bpf(command: int, attr: "ctypes.Array[ctypes.c_char]") -> int:
    """Carry out a BPF command (man 2 bpf). `attr` is a union bpf_attr, which the kernel may write to."""
    return call(libc.syscall, _SYS_BPF, command, attr, len(attr))


def load_bpf(kind: int, program: bytes) -> int:
    """Load a BPF program of this type (enum bpf_prog_type), and return its descriptor, which the caller owns."""
    instructions = ctypes.create_string_buffer(program, len(program))
    addresses = ctypes.addressof(instructions), ctypes.addressof(_BPF_LICENSE)
    packed = _BPF_LOAD.pack(kind, len(program) // _BPF_INSTRUCTION_BYTES, *addresses, 0, 0, 0, 0, 0, BPF_NAME)
    for left in reversed(range(_BPF_LOAD_TRIES)):
        try:
            descriptor = bpf(_BPF_PROG_LOAD, ctypes.create_string_buffer(packed, BPF_ATTR_BYTES))
            break
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR) or not left:  # a signal interrupted the verifier
                raise
    return above_zero(descriptor)


def above_zero(descriptor: int) -> int:
    """Return a duplicate if this is descriptor 0, which means "none" in union bpf_attr, and close the original."""
    if descriptor:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved
