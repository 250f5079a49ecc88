"""Open, exchange and read files."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.linux.libc import call, libc

# linux/openat2.h
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x01, 0x02, 0x10
_OPEN_HOW = struct.Struct("QQQ")  # flags, mode, resolve
_SYS_OPENAT2 = 437
_RENAME_EXCHANGE = 2  # linux/fs.h
_PIECE_BYTES = 1 << 16


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open a path relative to a directory, as RESOLVE_ flags allow (man 2 openat2). The caller owns the descriptor."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    return call(libc.syscall, _SYS_OPENAT2, directory, os.fsencode(path), how, len(how), path=path)


def is_mount_point(directory: int, name: str) -> bool:
    """Return whether something is mounted on this name. To remove or rename it would unmount that.

    The kernel refuses that only in the mount namespace of the caller (is_local_mountpoint in fs/namei.c).
    """
    try:
        os.close(openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, RESOLVE_NO_XDEV))
    except OSError as error:
        return error.errno == errno.EXDEV
    return False


def exchange(directory: int, one: str, other: str) -> None:
    """Exchange two names of a directory at once (man 2 renameat2: RENAME_EXCHANGE)."""
    names = (os.fsencode(one), directory, os.fsencode(other))
    call(libc.renameat2, directory, *names, _RENAME_EXCHANGE, path=other)


@contextmanager
def file_user(uid: int, gid: int) -> Iterator[None]:
    """Let this thread create files as another user (man 2 setfsuid). Meanwhile it has no rights over other files."""
    libc.setfsgid(gid)
    libc.setfsuid(uid)
    try:
        yield
    finally:
        libc.setfsuid(os.geteuid())
        libc.setfsgid(os.getegid())


def bounded_memory(name: str, size: int) -> int:
    """Return a file in memory that cannot grow beyond its size, so that its writer cannot use up memory.

    The caller owns the descriptor. (man 2 memfd_create)
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def read_file(path: str, directory: int | None = None) -> bytes:
    """Return a whole file, such as one of /proc, whose size the kernel does not report beforehand.

    It takes less than half the time of Path.read_bytes. A relative path starts at the directory's descriptor.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return b"".join(iter(lambda: os.read(descriptor, _PIECE_BYTES), b""))
    finally:
        os.close(descriptor)


def read_record(path: str, directory: int | None = None) -> bytes:
    """Return a file that the kernel writes as one record, with one read: a sysfs attribute, /proc/<pid>/stat."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, _PIECE_BYTES)
    finally:
        os.close(descriptor)
