"""Examine an image before it is booted. The core reads no file: it yields which bytes it needs."""

from collections.abc import Generator

from supervisor.core.kinds.elf import Span, read_elf
from supervisor.core.kinds.entry import Unbootable, entry_of
from supervisor.core.kinds.kind import Image


def examine(head: bytes, size: int, markers: frozenset[bytes]) -> Generator[Span, bytes, Image | Unbootable]:
    """Return the image with this beginning and size, in which these markers occur, or why it cannot be booted.

    Yields each further part of the file that it needs. The caller sends the bytes back, or fewer if the file ends
    before.
    """
    elf = yield from read_elf(head, size)
    entry = entry_of(head, size, elf)
    return entry if isinstance(entry, Unbootable) else Image(head, markers, entry, elf.notes if elf else ())
