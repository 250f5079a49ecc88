"""The user that QEMU runs as, its limits, and what this process must not pass on to it."""

import os
import pwd
import resource
from contextlib import suppress
from pathlib import Path

from supervisor.core.container import User
from supervisor.errors import Permanent, Step

_MOST_FILES = 1024
_MOST_THREADS = 512
"""In addition to one for each of the guest's processors: QEMU's own pool has up to 64."""


def find_user(wanted: str) -> User:
    """Return the user that guests run as; if it does not exist, the user `nobody`. Raises Permanent if it is root."""
    for name in (wanted, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            break
        groups = os.getgrouplist(name, entry.pw_gid)
        return User(name, entry.pw_uid, entry.pw_gid, tuple(groups))
    raise Permanent(
        f"guests must not run as {wanted!a}", step=Step.SPAWN, remedy="name an unprivileged user in [guest] user"
    )


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process and all that it starts: a dump would hold a guest's memory.

    Limits are inherited. To set those of another user's process later takes CAP_SYS_RESOURCE (man 2 prlimit).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def mark_close_on_exec() -> None:
    """Mark inherited descriptors close-on-exec, so that children get only what they are passed (PEP 446)."""
    for each in Path("/proc/self/fd").iterdir():
        if int(each.name) > 2:
            with suppress(OSError):  # the descriptor of the list itself
                os.set_inheritable(int(each.name), False)


def limits_of(cpus: int, *, alone: bool) -> dict[int, int]:
    """Return the limits of files and, if no other process runs as its user (`alone`), of threads.

    The kernel counts threads for each user.
    """
    files = {resource.RLIMIT_NOFILE: _MOST_FILES}
    return {**files, resource.RLIMIT_NPROC: _MOST_THREADS + cpus} if alone else files
