"""The QEMU program: where it is, which one it is, and what `qemu -version` prints for the user that guests run as."""

import shutil
import subprocess
from pathlib import Path

import anyio

from supervisor.core.container import User
from supervisor.errors import Permanent, Step

DEADLINE_S = 10.0

Identity = tuple[int, int, int]
"""Device, inode and modification time of a program: they change when a package replaces it."""


def locate(program: str) -> tuple[Path, Identity | None]:
    """Return where a program is, with all symlinks resolved. Its identity is None if it does not exist."""
    found = shutil.which(program)
    if found is None:
        return Path(program), None
    path = Path(found).resolve()
    status = path.stat()
    return path, (status.st_dev, status.st_ino, status.st_mtime_ns)


def stamp_of(program: str) -> str:
    """Return a stamp of the program's file, which changes when a package replaces it; empty if it is not installed."""
    path, identity = locate(program)
    return "" if identity is None else ":".join((str(path), *map(str, identity)))


async def ask_version(program: str, user: User | None, options: tuple[str, ...] = ()) -> tuple[bool, str]:
    """Return whether QEMU accepts these options, and what it printed. It checks options before it obeys -version.

    Without a user it runs as this process does, for a process without the right to become another user.
    Raises Permanent if it cannot be started, or does not exit in time.
    """
    try:
        with anyio.fail_after(DEADLINE_S):
            result = await anyio.run_process(
                [program, *options, "-version"],
                check=False,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=user.groups if user else None,
            )
    except TimeoutError as error:
        remedy = "run it by hand to find out what it waits for"
        raise Permanent(f"{program!a} -version does not end", step=Step.QEMU, remedy=remedy) from error
    except OSError as error:
        raise Permanent(
            f"cannot start {program!a}: {error.strerror or error}",
            step=Step.QEMU,
            remedy="install QEMU (Debian: qemu-system-x86) or correct [guest] qemu",
        ) from error
    return result.returncode == 0, result.stdout.decode(errors="replace")
