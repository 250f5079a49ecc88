"""The smallest images of each kind. An image that QEMU boots ends QEMU with status BOOTED.

tests/integration/guest/test_boot_verdicts.py boots them.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from supervisor.core.kinds import MARKERS
from supervisor.core.kinds.elf import Elf, Span, read_elf
from supervisor.core.kinds.entry import Unbootable
from supervisor.core.kinds.examination import examine
from supervisor.core.kinds.kind import HEAD_BYTES, Image

LINUX_VERSION = b"6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1"
LINUX_BANNER = b"Linux version " + LINUX_VERSION
IPXE_VERSION = b"1.0.0+git-20190125.36a4c85-5.1"

# mov $0x15, %al; out %al, $0xf4; hlt; and again. In 16, 32 and 64 bits alike; isa-debug-exit ends QEMU.
CODE = b"\xb0\x15\xe6\xf4\xf4\xeb\xfd"
EXIT_PORT = 0xF4
BOOTED = 0x15 << 1 | 1
MIB = 1 << 20
"""The load address of all images."""
PT_LOAD, PT_NOTE = 1, 4
I386, ARM, X86_64, ARM64 = 3, 40, 62, 183

Answer = TypeVar("Answer")


def multiboot_header(
    flags: int = 3, addresses: tuple[int, int, int, int, int] | None = None, checksum_error: int = 0
) -> bytes:
    """Addresses: of the header, of the load segment, of its end, of the end of bss, of the entry point."""
    flags |= 1 << 16 if addresses else 0
    checksum = (-(0x1BADB002 + flags) + checksum_error) & 0xFFFFFFFF
    return struct.pack("<III", 0x1BADB002, flags, checksum) + struct.pack("<5I", *(addresses or (0, 0, 0, 0, 0)))


def multiboot(offset: int = 0, checksum_error: int = 0) -> bytes:
    """Return a flat image that is loaded by the addresses in its header, which stands at this offset."""
    header = multiboot_header(3, (MIB + offset, MIB, 0, 0, MIB + offset + 32), checksum_error)
    return bytes(offset) + header + CODE + bytes(64)


def multiboot2_header() -> bytes:
    return struct.pack("<IIII", 0xE85250D6, 0, 24, -(0xE85250D6 + 24) & 0xFFFFFFFF) + struct.pack("<HHI", 0, 0, 8)


def bzimage(version: bytes = LINUX_VERSION, protocol: int = 0x20F) -> bytes:
    """Return five setup sectors, whose header points to this version, and 64 bytes of kernel."""
    head = bytes(0x1F1) + struct.pack("<BHIHHH", 4, 0, 4, 0, 0, 0) + b"\x55\xaa" + b"\xeb\x66" + b"HdrS"
    head += struct.pack("<H", protocol) + bytes(6) + struct.pack("<H", 0x100)
    head = head.ljust(0x248, b"\0") + struct.pack("<II", 16, 48)
    head = (head.ljust(0x268, b"\0") + CODE).ljust(0x300, b"\0") + version
    return head.ljust(5 * 512, b"\0") + bytes(64)


def disk() -> bytes:
    """Return a boot sector and one more sector."""
    return CODE.ljust(0x1FE, b"\0") + b"\x55\xaa" + bytes(512)


@dataclass(frozen=True)
class Part:
    """A segment of an ELF file. Its header may give a wrong offset or size."""

    type: int
    content: bytes = b""
    align: int = 4
    address: int = MIB
    offset: int | None = None
    size: int | None = None
    memory: int | None = None


LOAD = Part(PT_LOAD, CODE)


def elf(
    *parts: Part,
    wide: bool = True,
    machine: int = X86_64,
    little_endian: bool = True,
    flags: int = 0,
    kind: int = 2,
    table: int | None = None,
    count: int | None = None,
) -> bytes:
    """Return the ELF header, the program headers, and the parts one after the other."""
    order = "<" if little_endian else ">"
    header, entry = (64, 56) if wide else (52, 32)
    front = header + entry * len(parts)
    table = header if table is None else table
    count = len(parts) if count is None else count
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little_endian else 2, 1]).ljust(12, b"\0")
    words = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    head = ident + struct.pack(order + words, kind, machine, 1, MIB, table, 0, flags, header, entry, count, 0, 0, 0)
    body = b""
    for part in parts:
        body += bytes(-(front + len(body)) % 16)
        offset = front + len(body) if part.offset is None else part.offset
        size = len(part.content) if part.size is None else part.size
        memory = size if part.memory is None else part.memory
        if wide:
            numbers = (part.type, 7, offset, part.address, part.address, size, memory, part.align)
            head += struct.pack(f"{order}IIQQQQQQ", *numbers)
        else:
            numbers = (part.type, offset, part.address, part.address, size, memory, 7, part.align)
            head += struct.pack(f"{order}IIIIIIII", *numbers)
        body += part.content
    return head + body


def note(owner: bytes, kind: int, content: bytes) -> bytes:
    """Return an ELF note, padded as compilers do."""
    named = owner + b"\0"
    padded = [text + bytes(-len(text) % 4) for text in (named, content)]
    return struct.pack("<III", len(named), len(content), kind) + b"".join(padded)


def pvh_note(entry: int = MIB, owner: bytes = b"Xen", size: int = 8) -> bytes:
    return note(owner, 18, entry.to_bytes(size, "little"))


def notes(*contents: bytes, align: int = 4, offset: int | None = None, size: int | None = None) -> Part:
    return Part(PT_NOTE, b"".join(contents), align, 0, offset, size)


def pvh(*more: bytes) -> bytes:
    """Return a 64-bit ELF file that is booted by its PVH note; more notes stand before it."""
    return elf(LOAD, notes(*more, pvh_note()))


def multiboot_elf(*more: Part, wide: bool = False, machine: int = I386, little_endian: bool = True) -> bytes:
    """Return an ELF file with a multiboot header that leaves the addresses to ELF."""
    code = Part(PT_LOAD, CODE.ljust(8, b"\0") + multiboot_header())
    return elf(code, *more, wide=wide, machine=machine, little_endian=little_endian)


def solo5(target: int = 3, text_bytes: int = 0) -> bytes:
    """Return a Solo5 image for one of its targets; 3 is virtio. Its notes lie after its text (bindings/solo5_*.lds)."""
    size = 32 + len(CODE) + text_bytes
    text = multiboot_header(3, (MIB, MIB, MIB + size, 0, MIB + 32)) + CODE + bytes(text_bytes)
    abi = note(b"Solo5", 0x31494241, struct.pack("<IIII", target, 1, 0, 0))
    return elf(Part(PT_LOAD, text), notes(note(b"OpenBSD", 1, bytes(4))), notes(abi))


def answered(asking: Generator[Span, bytes, Answer], content: bytes) -> Answer:
    """Run a generator that asks for spans of a file, give it those spans of this content, and return its result."""
    try:
        span = next(asking)
        while True:
            assert span.offset + span.size <= len(content), "the reader asked for bytes beyond the end of the file"
            span = asking.send(content[span.offset : span.offset + span.size])
    except StopIteration as done:
        answer: Answer = done.value
        return answer


def read(content: bytes) -> Elf:
    """Parse an ELF file."""
    parsed = answered(read_elf(content[:HEAD_BYTES], len(content)), content)
    assert parsed is not None
    return parsed


def examined(content: bytes) -> Image | Unbootable:
    """Examine an image as the daemon reads it from a file."""
    markers = frozenset(marker for marker in MARKERS if marker in content)
    return answered(examine(content[:HEAD_BYTES], len(content), markers), content)
