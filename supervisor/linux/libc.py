"""The C library, whose functions make the system calls."""

import ctypes
import os
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
IS_X86 = os.uname().machine == "x86_64"
"""Otherwise it is arm64: some system calls have other numbers there (asm/unistd_64.h, asm-generic/unistd.h)."""


def call(function: Callable[..., int], *arguments: object, path: str | None = None) -> int:
    """Call a function of the C library. Return its result. Raises OSError if that is negative."""
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
