"""Examine an image before it is booted. The core reads no file: it yields which bytes it needs."""

from collections.abc import Generator

from supervisor.core.kinds.bzimage import end_of_kernel
from supervisor.core.kinds.elf import Elf, Span, read_elf
from supervisor.core.kinds.entry import Entry, Unbootable, entry_of
from supervisor.core.kinds.kind import Image
from supervisor.core.kinds.multiboot import end_of, find_header


def examine(head: bytes, size: int, markers: frozenset[bytes]) -> Generator[Span, bytes, Image | Unbootable]:
    """Return the image with this beginning and size, in which these markers occur, or why it cannot be booted.

    Yields each further part of the file that it needs. The caller sends the bytes back, or fewer if the file ends
    before.
    """
    elf = yield from read_elf(head, size)
    entry = entry_of(head, size, elf)
    if isinstance(entry, Unbootable):
        return entry
    return Image(head, markers, entry, elf.notes if elf else (), _end_of(entry, head, size, elf))


def _end_of(entry: Entry, head: bytes, size: int, elf: Elf | None) -> int:
    """Return the address that the image needs memory up to; 0 if that is not known."""
    if entry is Entry.LINUX:
        return end_of_kernel(head)
    header = find_header(head) if entry is Entry.MULTIBOOT else None
    by_header = end_of(header, size) if header is not None else 0
    return by_header or (elf.end if elf is not None else 0)
