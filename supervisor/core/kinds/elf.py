"""Read the parts of an ELF file (man 5 elf) that QEMU uses: the machine, the segments, the notes.

This follows QEMU (include/hw/elf_ops.h.inc, hw/core/loader.c), not the standard. QEMU finds notes only by program
headers, not by section headers. It ignores e_phentsize: an entry of that table has the size of QEMU's own struct. It
pads a note's name and content to the segment's p_align.
No byte of the file is trusted. The parts that are requested are within the file, and few.
"""

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_SEGMENTS = 128
"""Real kernels have five to twelve. QEMU compares each segment with every other one."""
MAX_NOTE_BYTES = 65536
"""For all notes together. Linux has half a kilobyte, a Solo5 image with many devices a few kilobytes."""
_PT_LOAD, _PT_NOTE = 1, 4
_CLASS_64, _LITTLE_ENDIAN = 2, 1
_HEADER_32, _HEADER_64 = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT_32, _SEGMENT_64 = struct.Struct("<IIIIIIII"), struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_USUAL_ALIGN = 4


class Span(NamedTuple):
    """Some bytes of a file."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset of the first byte after it; 0 if it is empty."""
        return self.offset + self.size if self.size else 0

    def is_beyond(self, size: int) -> bool:
        """Return whether a file of this size lacks a part of it."""
        return self.end > size


class Segment(NamedTuple):
    """One entry of the program header table."""

    type: int
    file: Span
    memory_bytes: int
    align: int
    address: int = 0
    """Where it is loaded to: its physical address."""


@dataclass(frozen=True, slots=True)
class Note:
    """One note: its owner, its type and its content."""

    owner: bytes
    type: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Elf:
    """The content of an ELF file's headers and notes."""

    wide: bool
    """Whether it is of the 64-bit class."""
    little_endian: bool
    machine: int
    """e_machine: 3 is i386, 62 is x86-64."""
    flags: int
    table: Span
    """Where the program headers are, according to the file."""
    segment_count: int
    """The number of program headers, according to e_phnum."""
    segments: tuple[Segment, ...]
    """The program headers that the file contains; at most MAX_SEGMENTS."""
    notes_by_segment: tuple[tuple[Note, ...], ...]
    """The notes of each note segment that the file contains; at most MAX_NOTE_BYTES in total."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes of all segments."""
        return tuple(note for notes in self.notes_by_segment for note in notes)

    @property
    def loads(self) -> tuple[Segment, ...]:
        """The segments that are loaded into memory."""
        return tuple(segment for segment in self.segments if segment.type == _PT_LOAD)

    @property
    def end(self) -> int:
        """The address after the last segment that is loaded; 0 if none is."""
        return max((each.address + each.memory_bytes for each in self.loads if each.memory_bytes), default=0)

    @property
    def note_segments(self) -> tuple[Segment, ...]:
        """The segments that hold notes."""
        return tuple(segment for segment in self.segments if segment.type == _PT_NOTE)


def read_elf(head: bytes, size: int) -> Generator[Span, bytes, Elf | None]:
    """Parse the file with this beginning and this size. Return None if it is not an ELF file.

    Yields each part of the file that it needs. The caller sends the bytes back, or fewer if the file ends before.
    """
    wide = head[4:5] == bytes([_CLASS_64])
    header = _HEADER_64 if wide else _HEADER_32
    if head[:4] != b"\x7fELF" or len(head) < header.size:
        return None
    ident, _, machine, _, _, table_offset, _, flags, _, _, count, _, _, _ = header.unpack_from(head)
    layout = _SEGMENT_64 if wide else _SEGMENT_32
    table = Span(table_offset, count * layout.size)
    content = yield _within(Span(table_offset, min(count, MAX_SEGMENTS) * layout.size), size)
    whole = content[: len(content) // layout.size * layout.size]
    segments = tuple(_segment(wide, fields) for fields in layout.iter_unpack(whole))
    notes: list[tuple[Note, ...]] = []
    room = MAX_NOTE_BYTES
    for segment in segments:
        if segment.type == _PT_NOTE:
            span = _within(segment.file, size)
            content = yield span._replace(size=min(span.size, room))
            room -= len(content)
            notes.append(tuple(_notes(content, segment.align or _USUAL_ALIGN)))
    return Elf(wide, ident[5] == _LITTLE_ENDIAN, machine, flags, table, count, segments, tuple(notes))


def _within(span: Span, size: int) -> Span:
    offset = min(span.offset, size)
    return Span(offset, min(span.size, size - offset))


def _segment(wide: bool, fields: tuple[int, ...]) -> Segment:
    if wide:
        kind, _, offset, _, address, file_bytes, memory_bytes, align = fields
    else:
        kind, offset, _, address, file_bytes, memory_bytes, _, align = fields
    return Segment(kind, Span(offset, file_bytes), memory_bytes, align, address)


def _notes(segment: bytes, align: int) -> Iterator[Note]:
    at = 0
    while at + _NOTE.size <= len(segment):
        owner_bytes, content_bytes, kind = _NOTE.unpack_from(segment, at)
        owner = at + _NOTE.size
        content = owner + _padded(owner_bytes, align)
        yield Note(segment[owner : owner + owner_bytes].rstrip(b"\0"), kind, segment[content : content + content_bytes])
        at = content + _padded(content_bytes, align)


def _padded(size: int, align: int) -> int:
    return -(-size // align) * align
