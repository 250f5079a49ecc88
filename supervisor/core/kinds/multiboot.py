"""Multiboot 1 as QEMU reads it (hw/i386/multiboot.c: load_multiboot).

The header must begin within the first 8144 bytes: QEMU requires all 48 bytes that a header may have within the first
8192, the specification (0.6.96, 3.1) only 12. If bit 16 of its flags is set, its addresses say what is loaded to where,
and the file may have any format. Otherwise QEMU loads it as an ELF file, and refuses one for x86-64. QEMU does not
support multiboot 2.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = struct.pack("<I", 0x1BADB002)
_MAGIC_2 = struct.pack("<I", 0xE85250D6)
_HEADER = struct.Struct("<III")
_ADDRESSES = struct.Struct("<IIII")
_HAS_ADDRESSES = 1 << 16
_WINDOW_BYTES = 8192 - 48
_MEMORY_BYTES = 1 << 32


@dataclass(frozen=True, slots=True)
class Header:
    """A multiboot header with a correct checksum."""

    offset: int
    addresses: tuple[int, int, int, int] | None
    """header_addr, load_addr, load_end_addr and bss_end_addr; None if the ELF headers have them."""


def find_header(head: bytes) -> Header | None:
    """Return the multiboot header that QEMU finds in the beginning of a file."""
    return next((header for header in _headers(head) if header.offset < _WINDOW_BYTES), None)


def overlooked_header(head: bytes) -> str | None:
    """Describe a header that the file has and QEMU does not find, for people."""
    for header in _headers(head):
        return f"its multiboot header is at byte {header.offset}, and QEMU looks for one before byte {_WINDOW_BYTES}"
    return "it has a multiboot 2 header, and QEMU knows only multiboot 1" if _MAGIC_2 in head else None


def _headers(head: bytes) -> Iterator[Header]:
    at = head.find(_MAGIC)
    while at >= 0:
        magic, flags, checksum = _HEADER.unpack(head[at : at + _HEADER.size].ljust(_HEADER.size, b"\0"))
        if at % 4 == 0 and (magic + flags + checksum) % _MEMORY_BYTES == 0:
            rest = head[at + _HEADER.size : at + _HEADER.size + _ADDRESSES.size].ljust(_ADDRESSES.size, b"\0")
            yield Header(at, _ADDRESSES.unpack(rest) if flags & _HAS_ADDRESSES else None)
        at = head.find(_MAGIC, at + 1)


def end_of(header: Header, size: int) -> int:
    """Return the address after what QEMU loads of a file of this size by the header's addresses; 0 without any."""
    if header.addresses is None:
        return 0
    header_at, load, load_end, bss_end = header.addresses
    return max(bss_end, load_end or load + size - (header.offset - (header_at - load)))


def problem_of_addresses(offset: int, addresses: tuple[int, int, int, int], size: int) -> str | None:
    """Return why QEMU cannot load a file of this size with a header at this offset and these addresses."""
    header_at, load, load_end, bss_end = addresses
    if not 0 <= header_at - load <= offset:
        return f"the multiboot header's load_addr 0x{load:x} does not fit its header_addr 0x{header_at:x}"
    if load_end and load_end < load:
        return f"the multiboot header's load_end_addr 0x{load_end:x} is below its load_addr 0x{load:x}"
    start = offset - (header_at - load)
    length = load_end - load if load_end else size - start
    if load + length >= _MEMORY_BYTES:
        return f"by its multiboot header it reaches beyond 4 GiB: {length} bytes at 0x{load:x}"
    if bss_end and bss_end < load + length:
        return f"the multiboot header's bss_end_addr 0x{bss_end:x} is below the end of what is loaded"
    if start + length > size:
        return f"it is cut short: it has {size} bytes, and by its multiboot header it needs {start + length}"
    return None
