"""The smallest kernel images that are what they pretend to be."""

import struct

from supervisor.core.guests import MARKERS
from supervisor.core.guests.kind import HEAD_BYTES, Image


def multiboot(offset: int = 0, flags: int = 3, checksum_error: int = 0) -> bytes:
    checksum = (-(0x1BADB002 + flags) + checksum_error) & 0xFFFFFFFF
    return bytes(offset) + struct.pack("<III", 0x1BADB002, flags, checksum) + bytes(64)


def bzimage() -> bytes:
    return bytes(0x1FE) + b"\x55\xaa" + b"\xeb\x66" + b"HdrS" + bytes(64)


def elf() -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(57)


def image(content: bytes) -> Image:
    """As the daemon reads it from a file."""
    return Image(content[:HEAD_BYTES], frozenset(marker for marker in MARKERS if marker in content))
