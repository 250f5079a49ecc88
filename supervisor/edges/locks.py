"""Locks against a second daemon: each is a file that is locked (man 2 flock) as long as its holder lives.

The kernel frees a lock when its holder ends in any way. The file says who holds it.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from supervisor.protocol import LOCKS_DIR

_MOST_BYTES = 4096


class HeldError(Exception):
    """Another process holds the lock. `by` is what its file says about that."""

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


@contextmanager
def hold(path: Path, about: str) -> Iterator[None]:
    """Hold a lock while the context lasts. `about` is for the process that finds it held.

    Raises HeldError, or OSError if the file cannot be made. Only root can open it: to open is enough to lock.
    """
    lock = _lock(path)
    try:
        with suppress(OSError):  # no space: the lock itself needs none
            os.truncate(lock, 0)
            os.write(lock, about.encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path) -> int:
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:  # else its last holder has deleted it meanwhile
                return lock
        except BlockingIOError as error:
            by = os.read(lock, _MOST_BYTES).decode("utf-8", "replace")
            os.close(lock)
            raise HeldError(by) from error
        os.close(lock)


@contextmanager
def hold_docker(identity: str, control_socket: Path, about: str, folder: Path = Path(LOCKS_DIR)) -> Iterator[None]:
    """Hold the lock that goes with one Docker daemon, however it is addressed. Raises as `hold`.

    A symlink next to it leads commands to the control socket.
    """
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    symlink = folder / f"{name}.sock"
    _make(folder)
    with hold(folder / f"{name}.lock", about):
        symlink.unlink(missing_ok=True)
        symlink.symlink_to(control_socket)
        try:
            yield
        finally:
            symlink.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """Create the folder, which all may read. Its name is kept from others by /run itself, which is root's."""
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)
