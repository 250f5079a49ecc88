"""The settings of a terminal: the kernel's `struct termios` (asm-generic/termbits.h), the same on x86-64 and arm64."""

import struct

_SETTINGS = struct.Struct("=IIIIB19s")  # c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc
SETTINGS_BYTES = _SETTINGS.size
_VTIME, _VMIN = 5, 6
_OPOST = 0x1
_INPUT_FLAGS = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100 | 0x400
"""IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON."""
_LOCAL_FLAGS = 0x1 | 0x2 | 0x8 | 0x40 | 0x8000
"""ISIG, ICANON, ECHO, ECHONL, IEXTEN."""


def make_raw(settings: bytes) -> bytes:
    """Return the settings with which a terminal passes each byte on as it is, at once, and echoes none.

    As man 3 cfmakeraw. A pseudoterminal always has eight bits (pty_set_termios in drivers/tty/pty.c).
    """
    input_flags, output_flags, control_flags, local_flags, line, characters = _SETTINGS.unpack(settings)
    changed = bytearray(characters)
    changed[_VMIN], changed[_VTIME] = 1, 0
    return _SETTINGS.pack(
        input_flags & ~_INPUT_FLAGS,
        output_flags & ~_OPOST,
        control_flags,
        local_flags & ~_LOCAL_FLAGS,
        line,
        bytes(changed),
    )
