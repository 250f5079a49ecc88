"""The smallest images that are what they pretend to be."""

import struct

from supervisor.core.guests import MARKERS
from supervisor.core.guests.kind import HEAD_BYTES, Image

LINUX_VERSION = b"6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1"
IPXE_VERSION = b"1.0.0+git-20190125.36a4c85-5.1"


def multiboot(offset: int = 0, flags: int = 3, checksum_error: int = 0) -> bytes:
    checksum = (-(0x1BADB002 + flags) + checksum_error) & 0xFFFFFFFF
    return bytes(offset) + struct.pack("<III", 0x1BADB002, flags, checksum) + bytes(64)


def bzimage(version: bytes = LINUX_VERSION) -> bytes:
    """Its version stands where the header's word at 0x20E says."""
    head = bytes(0x1FE) + b"\x55\xaa" + b"\xeb\x66" + b"HdrS" + bytes(8) + struct.pack("<H", 0x100)
    return head.ljust(0x300, b"\0") + version + b"\0" + bytes(64)


def disk() -> bytes:
    """A boot sector, and another sector."""
    return b"\xfa".ljust(0x1FE, b"\0") + b"\x55\xaa" + bytes(512)


def elf() -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(57)


def note(owner: bytes, kind: int, content: bytes) -> bytes:
    """Padded as a compiler does."""
    named = owner + b"\0"
    padded = [text + bytes(-len(text) % 4) for text in (named, content)]
    return struct.pack("<III", len(named), len(content), kind) + b"".join(padded)


def elf_with_notes(notes: bytes, *, wide: bool = True) -> bytes:
    """An ELF file of one or the other width, with one program header, for these notes."""
    if wide:
        head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
            "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
        )
        return head + struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(notes), len(notes), 4) + notes
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0
    )
    return head + struct.pack("<IIIIIIII", 4, 84, 0, 0, len(notes), len(notes), 4, 4) + notes


def solo5(target: int = 3) -> bytes:
    """An image of Solo5 for one of its targets; 3 is virtio."""
    notes = note(b"Solo5", 0x31494241, struct.pack("<IIII", target, 1, 0, 0))
    return elf_with_notes(note(b"OpenBSD", 1, bytes(4)) + notes) + multiboot()


def image(content: bytes) -> Image:
    """As the daemon reads it from a file."""
    return Image(content[:HEAD_BYTES], frozenset(marker for marker in MARKERS if marker in content))
