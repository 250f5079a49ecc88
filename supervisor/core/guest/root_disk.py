"""A container image's files as an ext4 disk: the commands by which debugfs(8) fills it, and its size.

debugfs writes owners, device nodes and links into the disk without root, and nothing that an image names is ever a path
on the host: the content of its files is in numbered files there.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from supervisor.core.units import MIB
from supervisor.errors import Rejected, Step


class FileType(Enum):
    """What an entry is, with the bits of its mode (man 7 inode)."""

    FOLDER = 0o040000
    FILE = 0o100000
    SYMLINK = 0o120000
    CHARACTER_DEVICE = 0o020000
    BLOCK_DEVICE = 0o060000
    FIFO = 0o010000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an image."""

    path: str
    """Absolute, in the image."""
    type: FileType
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    size_bytes: int = 0
    source: str = ""
    """The file on the host that has its content; empty for one without content."""
    target: str = ""
    """Of a symlink."""
    device: tuple[int, int] = (0, 0)
    links: tuple[str, ...] = ()
    """Further names of the same file."""


@dataclass(frozen=True, slots=True)
class DiskSize:
    """How large a disk is."""

    bytes: int
    inodes: int


BLOCK_BYTES = 4096
_INODE_BYTES = 256
_MOST_LINE_BYTES = 8000
"""debugfs reads lines of 8191 bytes (debugfs.c: source_file)."""
_LEAST_ROOM_BYTES = 64 * MIB
_DATA_PARTS = 4
_SPARE_INODES = 4096


def size_of(entries: Sequence[Entry], asked_bytes: int | None) -> DiskSize:
    """Return the size of the disk for these files. Raises Rejected if `asked_bytes` does not hold them.

    If nothing is asked for, a fifth of the disk is free, and 64 MiB at the least.
    """
    content = sum(_blocks(entry.size_bytes) + BLOCK_BYTES * (entry.type is FileType.FOLDER) for entry in entries)
    inodes = 2 * len(entries) + _SPARE_INODES
    least = content + inodes * _INODE_BYTES + content // 32
    journal = 4 * MIB if least < 96 * MIB else 16 * MIB if least < 384 * MIB else 64 * MIB
    least += journal + 4 * MIB
    if asked_bytes is None:
        return DiskSize(_blocks(least + max(_LEAST_ROOM_BYTES, content // _DATA_PARTS)), inodes)
    if asked_bytes < least:
        raise Rejected(
            f"the image's files do not fit on a disk of {asked_bytes // MIB} MiB",
            step=Step.ROOTFS,
            remedy=f"name a --size of {-(-least // MIB)}M or more",
        )
    return DiskSize(_blocks(asked_bytes), inodes)


def commands_for(entries: Iterable[Entry]) -> Iterator[str]:
    """Write debugfs's commands for entries of which each folder comes before what is in it.

    Raises Rejected for a name that its command line cannot carry.
    """
    linked = []
    for entry in entries:
        path = _quoted(entry.path, entry.path)
        if entry.path != "/":
            yield from _made(entry, path)
        yield f"sif {path} mode 0{entry.type.value | entry.mode:o}"
        yield f"sif {path} uid {entry.uid}"
        yield f"sif {path} gid {entry.gid}"
        yield f"sif {path} mtime @{max(0, entry.mtime_s)}"
        if entry.links:
            linked.append(entry)
    for entry in linked:  # now the folders of all names are there
        path = _quoted(entry.path, entry.path)
        yield from (f"ln {path} {_quoted(link, link)}" for link in entry.links)
        yield f"sif {path} links_count {1 + len(entry.links)}"


def _made(entry: Entry, path: str) -> Iterator[str]:
    match entry.type:
        case FileType.FOLDER:
            yield f"mkdir {path}"
        case FileType.FILE:
            yield _checked(f"write {_quoted(entry.source, entry.source)} {path}", entry.path)
        case FileType.SYMLINK:
            yield _checked(f"symlink {path} {_quoted(entry.target, entry.path)}", entry.path)
        case FileType.FIFO:
            yield from _node(entry, "p")
        case FileType.CHARACTER_DEVICE:
            yield from _node(entry, f"c {entry.device[0]} {entry.device[1]}")
        case FileType.BLOCK_DEVICE:
            yield from _node(entry, f"b {entry.device[0]} {entry.device[1]}")
        case _:
            assert_never(entry.type)


def _node(entry: Entry, what: str) -> Iterator[str]:
    """Unlike the other commands, mknod takes a name in the current folder, and no path."""
    folder, name = posixpath.split(entry.path)
    yield f"cd {_quoted(folder, entry.path)}"
    yield f"mknod {_quoted(name, entry.path)} {what}"
    yield 'cd "/"'


def _quoted(text: str, path: str) -> str:
    """Quote a word of a command (lib/ss/parse.c). A quote within is written twice."""
    if not text or any(letter in "\n\r\0" for letter in text):
        raise _refused(path)
    return '"' + text.replace('"', '""') + '"'


def _checked(line: str, path: str) -> str:
    if len(line.encode("utf-8", "surrogateescape")) > _MOST_LINE_BYTES:
        raise _refused(path)
    return line


def _refused(path: str) -> Rejected:
    return Rejected(
        f"the image's file {path!a} cannot be put on a disk: its name has a line break, or is too long",
        step=Step.ROOTFS,
        remedy="rename it in the image",
    )


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES
