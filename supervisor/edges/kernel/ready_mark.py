"""/dev/vtapd-ready: how a container's health check learns of its guest, which its own processes cannot reach."""

import contextlib
import os
import stat

from supervisor.errors import Step, Transient

_NAME = "vtapd-ready"


def observe_ready_mark(dev: int) -> bool:
    """Whether it is there, in the container's /dev. Nothing but a regular file counts."""
    try:
        return stat.S_ISREG(os.stat(_NAME, dir_fd=dev, follow_symlinks=False).st_mode)
    except OSError:
        return False


def set_ready_mark(dev: int, is_ready: bool) -> None:
    """Make it, empty and readable for all, or remove it.

    What a container's process has put in its place is left there: no undo waits for that. Raises Transient where it
    cannot be made, such as in that case: the guest is none the worse.
    """
    if not is_ready:
        with contextlib.suppress(OSError):
            os.unlink(_NAME, dir_fd=dev)
        return
    try:
        os.mknod(_NAME, 0o444 | stat.S_IFREG, dir_fd=dev)
    except OSError as error:
        raise Transient(
            f"cannot make /dev/{_NAME} in the container: {error.strerror}",
            step=Step.READY,
            remedy="its /dev must be writable, and that name vtapd's",
        ) from error
