"""Two files in a container's /dev, by which its processes know what they cannot ask its guest.

/dev/vtapd-ready, empty, is there while the guest is ready: a health check reads it. /dev/vtapd-exit has the exit status
of a guest that is done, in digits: vtapd-init exits with it.

`dev` is a descriptor of that folder, which the container's processes can change at any moment. What they put in place
of a mark stays theirs, and no undo waits for it.
"""

import contextlib
import errno
import os
import stat

from supervisor.core.container import FileOwner
from supervisor.errors import Step, Transient
from supervisor.linux import file_calls

_READY, _EXIT = "vtapd-ready", "vtapd-exit"
_MODE = 0o444
_MOST_DIGITS = 3


def observe_ready_mark(dev: int) -> bool:
    """Return whether the container's /dev has the mark. Only a regular file counts, and none that is mounted there."""
    pinned = _pin(dev, _READY)
    if pinned is None:
        return False
    os.close(pinned)
    return True


def make_ready_mark(dev: int, owner: FileOwner) -> None:
    """Create the mark, readable for all. Raises Transient if it cannot be made; the guest runs all the same."""
    try:
        os.close(_create(dev, _READY, owner))
    except OSError as error:
        raise _refused(_READY, error) from error


def remove_ready_mark(dev: int) -> None:
    """Remove the mark."""
    _remove(dev, _READY)


def observe_exit_mark(dev: int) -> int | None:
    """Return the exit status in the file; None without a file of this form."""
    pinned = _pin(dev, _EXIT)
    if pinned is None:
        return None
    try:
        file = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.pread(file, _MOST_DIGITS + 1, 0)
        finally:
            os.close(file)
    except OSError:
        return None
    finally:
        os.close(pinned)
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else None


def make_exit_mark(dev: int, owner: FileOwner, status: int) -> None:
    """Write the file, readable for all. A reader never sees a part of it. Raises Transient if it cannot be written."""
    new = f".{_EXIT}-new"
    try:
        _remove(dev, new)  # of a daemon that was killed here
        if file_calls.is_mount_point(dev, _EXIT):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        file = _create(dev, new, owner)
        try:
            os.write(file, str(status).encode())
            os.rename(new, _EXIT, src_dir_fd=dev, dst_dir_fd=dev)
        except OSError:
            _remove(dev, new)
            raise
        finally:
            os.close(file)
    except OSError as error:
        raise _refused(_EXIT, error) from error


def remove_exit_mark(dev: int) -> None:
    """Remove the file."""
    for name in (_EXIT, f".{_EXIT}-new"):
        _remove(dev, name)


def _pin(dev: int, name: str) -> int | None:
    """Hold a regular file; None for anything else. The caller owns the descriptor.

    No driver is called, and no file system that is mounted on the name: opening some devices has side effects, and a
    file system in user space may never answer.
    """
    try:
        pinned = file_calls.openat2(dev, name, os.O_PATH | os.O_NOFOLLOW, file_calls.RESOLVE_NO_XDEV)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(pinned).st_mode):
        return pinned
    os.close(pinned)
    return None


def _create(dev: int, name: str, owner: FileOwner) -> int:
    """Create a file that the container's user owns. Return it, open for writing; the caller owns it."""
    file = _open_new(dev, name)
    try:
        made = os.fstat(file)
        if stat.S_IMODE(made.st_mode) != _MODE:  # a umask that forbids others to read
            os.fchmod(file, _MODE)
        if (made.st_uid, made.st_gid) != (owner.uid, owner.gid):
            os.fchown(file, owner.uid, owner.gid)
    except BaseException:
        os.close(file)
        raise
    return file


def _open_new(dev: int, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(name, flags, _MODE, dir_fd=dev)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:
            raise
    # The file system belongs to a user namespace that has no root of the host's; the folder's owner exists there.
    folder = os.fstat(dev)
    with file_calls.file_user(folder.st_uid, folder.st_gid):
        return os.open(name, flags, _MODE, dir_fd=dev)


def _remove(dev: int, name: str) -> None:
    with contextlib.suppress(OSError):
        if not file_calls.is_mount_point(dev, name):
            os.unlink(name, dir_fd=dev)


def _refused(name: str, error: OSError) -> Transient:
    return Transient(
        f"cannot make /dev/{name} in the container: {error.strerror}",
        step=Step.READY,
        remedy="its /dev must be writable, and that name vtapd's",
    )
