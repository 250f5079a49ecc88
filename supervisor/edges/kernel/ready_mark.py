"""The empty file /dev/vtapd-ready. A container's health check reads it: its processes cannot reach the guest.

`dev` is a descriptor of the container's /dev, which the container's processes can change at any moment.
"""

import contextlib
import errno
import os
import stat

from supervisor import linux
from supervisor.core.model import FileOwner
from supervisor.errors import Step, Transient

_NAME, _MODE = "vtapd-ready", 0o444


def observe_ready_mark(dev: int) -> bool:
    """Return whether the container's /dev has the mark. Only a regular file counts, and none that is mounted there."""
    try:
        found = os.stat(_NAME, dir_fd=dev, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not linux.is_mount_point(dev, _NAME)


def make_ready_mark(dev: int, owner: FileOwner) -> None:
    """Create the mark, empty and readable for all. Raises Transient if it cannot be; the guest runs all the same."""
    try:
        mark = _create(dev)
        try:
            made = os.fstat(mark)
            if stat.S_IMODE(made.st_mode) != _MODE:  # a umask that forbids others to read
                os.fchmod(mark, _MODE)
            if (made.st_uid, made.st_gid) != (owner.uid, owner.gid):
                os.fchown(mark, owner.uid, owner.gid)
        finally:
            os.close(mark)
    except OSError as error:
        raise Transient(
            f"cannot make /dev/{_NAME} in the container: {error.strerror}",
            step=Step.READY,
            remedy="its /dev must be writable, and that name vtapd's",
        ) from error


def remove_ready_mark(dev: int) -> None:
    """Remove the mark. If a process of the container has put something else in its place, no undo waits for it."""
    with contextlib.suppress(OSError):
        if not linux.is_mount_point(dev, _NAME):
            os.unlink(_NAME, dir_fd=dev)


def _create(dev: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(_NAME, flags, _MODE, dir_fd=dev)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:
            raise
    # The file system belongs to a user namespace that has no root of the host's; the folder's owner exists there.
    folder = os.fstat(dev)
    with linux.file_user(folder.st_uid, folder.st_gid):
        return os.open(_NAME, flags, _MODE, dir_fd=dev)
