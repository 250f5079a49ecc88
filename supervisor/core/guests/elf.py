"""As much of ELF (man 5 elf) as tells one kernel from another: its notes. Any bytes can be looked at."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PT_NOTE = 4
_CLASS_64 = 2
_PHDR_32, _PHDR_64 = struct.Struct("<IIIIIIII"), struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_MAX_HEADERS = 64


@dataclass(frozen=True, slots=True)
class Note:
    """One note: who wrote it, what it is, what it says."""

    owner: bytes
    type: int
    content: bytes


def notes_of(head: bytes) -> tuple[Note, ...]:
    """The notes of a little-endian ELF file, as far as they lie within this beginning of it."""
    return tuple(note for start, size in _note_segments(head) for note in _notes_in(head[start : start + size]))


def _note_segments(head: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of each."""
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return
    wide = head[4] == _CLASS_64
    start = struct.unpack_from("<Q", head, 32)[0] if wide else struct.unpack_from("<I", head, 28)[0]
    size, count = struct.unpack_from("<HH", head, 54 if wide else 42)
    layout = _PHDR_64 if wide else _PHDR_32
    for at in range(start, start + size * min(count, _MAX_HEADERS), size or 1):
        if at + layout.size > len(head):
            return
        fields = layout.unpack_from(head, at)
        if fields[0] == _PT_NOTE:
            yield (fields[2], fields[5]) if wide else (fields[1], fields[4])


def _notes_in(segment: bytes) -> Iterator[Note]:
    at = 0
    while at + _NOTE.size <= len(segment):
        owner_size, size, kind = _NOTE.unpack_from(segment, at)
        owner = at + _NOTE.size
        content = owner + _aligned(owner_size)
        yield Note(segment[owner : owner + owner_size].rstrip(b"\0"), kind, segment[content : content + size])
        at = content + _aligned(size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
