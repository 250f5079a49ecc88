"""Read the files of a container image from its archive, as entries of a disk.

The content of each file goes to a file on the host whose name is a number, so that no name in the image is ever a path
there: it can neither lead elsewhere nor make a device or a link on the host.
"""

import posixpath
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO

from supervisor.core.guest.root_disk import Entry, FileType
from supervisor.errors import Permanent, Step

_TYPES = {
    tarfile.DIRTYPE: FileType.FOLDER,
    tarfile.SYMTYPE: FileType.SYMLINK,
    tarfile.CHRTYPE: FileType.CHARACTER_DEVICE,
    tarfile.BLKTYPE: FileType.BLOCK_DEVICE,
    tarfile.FIFOTYPE: FileType.FIFO,
}
_OF_THE_SYSTEM = ("/dev/", "/proc/", "/sys/")
"""What is in these folders is the kernel's in a guest; here it is what Docker puts there for a container."""
_OF_DOCKER = ("/.dockerenv",)


def unpack(archive: IO[bytes], folder: Path) -> list[Entry]:
    """Return the entries of a tar file, and put the content of its files into `folder`.

    Raises Permanent if it cannot be read or if there is no room.
    """
    try:
        entries = {entry.path: entry for entry in _unpacked(archive, folder)}
    except (tarfile.TarError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise Permanent(
            f"cannot unpack the image's files: {why}",
            step=Step.ROOTFS,
            remedy="leave room for them in the folder for temporary files (TMPDIR)",
        ) from error
    return list(_with_parents(entries))


def _unpacked(archive: IO[bytes], folder: Path) -> Iterator[Entry]:
    found: dict[str, Entry] = {}
    numbers = count()
    with tarfile.open(fileobj=archive, mode="r:") as files:
        for member in files:
            path = _absolute(member.name)
            if path.startswith(_OF_THE_SYSTEM) or path in _OF_DOCKER:
                continue
            if member.islnk():
                first = found.get(_absolute(member.linkname))
                if first is not None and first.path != path:
                    found[first.path] = replace(first, links=(*first.links, path))
                continue
            kind = FileType.FILE if member.isreg() else _TYPES.get(member.type)
            if kind is None:
                continue
            found[path] = Entry(
                path, kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), member.size,
                _store(files, member, folder / str(next(numbers))) if kind is FileType.FILE else "",
                member.linkname, (member.devmajor, member.devminor),
            )  # fmt: skip
    yield from found.values()


def _absolute(name: str) -> str:
    return posixpath.normpath("/" + name.lstrip("/"))


def _store(files: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> str:
    content = files.extractfile(member)
    assert content is not None, "a regular file has content"
    with content, target.open("wb") as copy:
        shutil.copyfileobj(content, copy)
    return str(target)


def _with_parents(entries: dict[str, Entry]) -> Iterator[Entry]:
    """Yield each folder before what is in it. A file in something that is no folder is left out."""
    folders = {"/"}
    for path in sorted(entries, key=lambda path: (path.count("/"), path)):
        if posixpath.dirname(path) in folders:
            yield entries[path]
            if entries[path].type is FileType.FOLDER:
                folders.add(path)
