"""Read a container's files: by openat2 from its root directory, and never by a path of the host.

A plain open of /proc/<pid>/root/x follows an absolute symlink of the image into the *host*. With RESOLVE_IN_ROOT the
kernel resolves it in the container (man 2 openat2).
"""

import errno
import os
import stat
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.core.kinds.entry import Unbootable
from supervisor.core.kinds.examination import examine
from supervisor.core.kinds.kind import HEAD_BYTES, Image
from supervisor.errors import ContainerGone, Permanent, Rejected, Step, Transient
from supervisor.linux import file_calls

_CHUNK_BYTES = 1 << 20
_TEXT_BYTES = 1 << 16
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_OWN_FILE = "name a regular file of the container's own file system"
_VOLUME = "put it into a volume, or add :ro to its path if it is a disk"


def open_root(pid: Pid) -> int:
    """Return a descriptor of the container's root directory. The caller owns it."""
    try:
        return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.ROOTFS) from error
    except PermissionError as error:
        raise Permanent(
            f"cannot reach the files of process {pid}",
            step=Step.ROOTFS,
            remedy="vtapd needs CAP_SYS_PTRACE: run it as root",
        ) from error


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open a path of the container. Symlinks in it resolve within the container. Raises the kernel's OSError."""
    return file_calls.openat2(root, path, flags, file_calls.RESOLVE_IN_ROOT | file_calls.RESOLVE_NO_MAGICLINKS)


def open_dev(root: int) -> int:
    """Return a descriptor of the container's /dev. The caller owns it."""
    try:
        dev = open_beneath(root, "/dev", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise Permanent(
            "the container has no /dev", step=Step.NODE, remedy="give the image a /dev directory"
        ) from error
    except OSError as error:
        raise Transient(f"cannot open the container's /dev: {error.strerror}", step=Step.NODE) from error
    if os.path.samestat(os.fstat(dev), Path("/dev").stat()):
        os.close(dev)
        raise Permanent(
            "the container has the host's /dev, whose tapN are not its own",
            step=Step.NODE,
            remedy="start it without -v /dev:/dev, or with label vtapd.enable=false",
        )
    return dev


def open_file(root: int, path: str, label: str, limit_bytes: int, *, writable: bool = False) -> int:
    """Open a regular file of the container for reading, or for writing too. The caller owns the descriptor.

    Raises Rejected, with the label, if the file is missing, not regular, empty or larger than the limit.
    """
    try:
        # O_NONBLOCK: a FIFO or a device under that name must not hold the daemon up.
        access = os.O_RDWR if writable else os.O_RDONLY
        descriptor = open_beneath(root, path, access | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise Transient(f"cannot open {path!a}: {error.strerror}", step=Step.KERNEL) from error
        remedy = _VOLUME if error.errno == errno.EROFS else _OWN_FILE
        raise _refused(path, label, os.strerror(error.errno or 0), remedy) from error
    status = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "it is no regular file"
    elif not 0 < status.st_size <= limit_bytes:
        problem = f"it has {status.st_size} bytes, allowed are 1 to {limit_bytes}"
    if problem:
        os.close(descriptor)
        raise _refused(path, label, problem)
    return descriptor


def open_folder(root: int, path: str, label: str) -> int:
    """Return a descriptor of a folder of the container, for its place only. The caller owns it.

    Raises Rejected, with the label, if it is missing or no folder.
    """
    try:
        return open_beneath(root, path, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise Transient(f"cannot open {path!a}: {error.strerror}", step=Step.SHARE) from error
        remedy = "name a folder of the container, such as that of a volume"
        raise _refused(path, label, os.strerror(error.errno or 0), remedy) from error


def read_text(root: int, path: str) -> str:
    """Return the first 64 KiB of a file of the container; empty if it is missing or not regular."""
    try:
        descriptor = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.pread(descriptor, _TEXT_BYTES, 0).decode("utf-8", "replace") if regular else ""
    except OSError:
        return ""  # some files of /proc look regular and cannot be read
    finally:
        os.close(descriptor)


def _refused(path: str, label: str, problem: str, remedy: str = _OWN_FILE) -> Rejected:
    return Rejected(f"label {label}: cannot use {path!a} of the container: {problem}", step=Step.KERNEL, remedy=remedy)


def read_image(descriptor: int, markers: frozenset[bytes], limit_bytes: int) -> Image | Unbootable:
    """Return what identifies the kind of a kernel image. Reads the whole file for the markers: call it in a thread.

    Raises Rejected if the file cannot be read, as some of /sys that look regular, or has grown beyond the limit.
    """
    try:
        return _read_image(descriptor, markers, limit_bytes)
    except OSError as error:
        raise Rejected(
            f"label vtapd.kernel: the file cannot be read: {error.strerror}",
            step=Step.KERNEL,
            remedy=_OWN_FILE,
        ) from error


def read_head(descriptor: int, label: str, size: int) -> bytes:
    """Return the beginning of a file. It may wait for a disk or a network: call it in a thread.

    Raises Rejected, naming the label, if it cannot be read.
    """
    try:
        return os.pread(descriptor, size, 0)
    except OSError as error:
        raise Rejected(
            f"label {label}: the file cannot be read: {error.strerror}",
            step=Step.KERNEL,
            remedy=_OWN_FILE,
        ) from error


def _read_image(descriptor: int, markers: frozenset[bytes], limit_bytes: int) -> Image | Unbootable:
    head, size = os.pread(descriptor, HEAD_BYTES, 0), os.fstat(descriptor).st_size
    examination = examine(head, size, _find_markers(descriptor, markers, limit_bytes))
    try:
        span = next(examination)
        while True:
            span = examination.send(os.pread(descriptor, span.size, span.offset))
    except StopIteration as done:
        examined: Image | Unbootable = done.value
        return examined


def _find_markers(descriptor: int, markers: frozenset[bytes], limit_bytes: int) -> frozenset[bytes]:
    overlap = max((len(m) for m in markers), default=1) - 1
    found: set[bytes] = set()
    offset, tail = 0, b""
    while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
        window = tail + chunk
        found.update(marker for marker in markers - found if marker in window)
        offset, tail = offset + len(chunk), window[-overlap:] if overlap else b""
        if offset > limit_bytes:
            raise Rejected(
                "label vtapd.kernel: the file grows while it is read", step=Step.KERNEL, remedy="leave it alone"
            )
    return frozenset(found)
