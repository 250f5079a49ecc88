"""A private /run/netns for a test process, so that tests of other processes do not find its symlinks."""

import ctypes
import os
from pathlib import Path

NETNS_FOLDER = Path("/run/netns")
CLONE_NEWNS = 0x00020000  # linux/sched.h
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18  # linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)


def hide_netns_folder() -> None:
    """Give this thread, and all that it starts, a mount namespace in which /run/netns is empty.

    Call it in the main thread: /proc/self shows the main thread's mounts.
    """
    _check(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _mount(b"none", b"/", None, MS_REC | MS_PRIVATE)
    NETNS_FOLDER.mkdir(exist_ok=True)
    _mount(b"vtapd-test", os.fsencode(NETNS_FOLDER), b"tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    NETNS_FOLDER.chmod(0o755)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), None), f"mount on {os.fsdecode(target)}")


def _check(result: int, call: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
