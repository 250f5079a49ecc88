"""Starts QEMU: unprivileged inside a container's namespaces, with few descriptors and narrow limits.

`spawn` is called by a throw-away thread that has entered the namespaces. Credentials belong to a thread as far as the
kernel is concerned (man 7 credentials; only libc makes them a process's), so that thread drops them by raw system
calls before it starts QEMU, which thus is unprivileged from its first instruction and a direct child of the daemon.
posix_spawn, and every descriptor of the daemon closed by the exec: subprocess would close each number up to the limit,
one after another, since that thread may see the files of a sandbox alone and no /proc. Nothing is imported here.
"""

import fcntl
import os
import pwd
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from supervisor import linux
from supervisor.core.model import Pid, User
from supervisor.errors import Permanent, Step, Transient

_STDERR_BYTES = 16384
_MOST_FILES = 1024
_MOST_THREADS = 512
"""Beyond a guest's processors: QEMU's own pool has up to 64."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Which QEMU is to have at their defaults; a process that is started inherits what is ignored."""


def find_user(wanted: str) -> User:
    """The user that guests run as, or nobody where it does not exist. Raises Permanent when it is root."""
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
    """For this process and all that it starts: a core would hold a guest's memory.

    Limits are inherited; to set another user's afterwards would take CAP_SYS_RESOURCE (man 2 prlimit).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def keep_descriptors() -> None:
    """To this process: what whoever started it left open is no more inherited than what it opens itself (PEP 446)."""
    for each in Path("/proc/self/fd").iterdir():
        if int(each.name) > 2:
            with suppress(OSError):  # that of the list itself
                os.set_inheritable(int(each.name), False)


def limits_of(cpus: int, *, alone: bool) -> dict[int, int]:
    """How many files and threads it may have; threads are counted by user, so only where it is `alone` under it."""
    files = {resource.RLIMIT_NOFILE: _MOST_FILES}
    return {**files, resource.RLIMIT_NPROC: _MOST_THREADS + cpus} if alone else files


def spawn(
    program: str,
    arguments: Sequence[str],
    descriptors: Sequence[int],
    folder: int,
    user: User,
    limits: Mapping[int, int],
) -> tuple[Pid, int]:
    """Start QEMU as this user, in this folder, with these descriptors, under the same numbers.

    Call it in a throw-away thread, which has no rights afterwards. Returns the pid of a child, and the descriptor of
    what it says on standard error; the caller owns both. Raises Permanent when the program cannot be started.
    """
    stderr = _bounded_file("vtapd-qemu-stderr")
    try:
        _stand_in(folder)
        _drop_rights(user)
        pid = os.posix_spawn(
            program,
            [*arguments],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
                *((os.POSIX_SPAWN_DUP2, each, each) for each in descriptors),  # which takes close-on-exec away
            ],
            setsid=True,
            setsigdef=_IGNORED_BY_PYTHON,
        )
    except OSError as error:
        os.close(stderr)
        if isinstance(error, FileNotFoundError | PermissionError):
            raise Permanent(
                f"cannot start {program!a}: {error.strerror}",
                step=Step.SPAWN,
                remedy="install QEMU (Debian: qemu-system-x86) or correct [guest] qemu",
            ) from error
        raise Transient(f"cannot start {program!a}: {error.strerror}", step=Step.SPAWN) from error
    with suppress(ProcessLookupError):  # it ended at once
        for limit, most in limits.items():
            # Allowed without CAP_SYS_RESOURCE, since this thread is that user by now (man 2 prlimit).
            resource.prlimit(pid, limit, (most, most))
    return Pid(pid), stderr


def _stand_in(folder: int) -> None:
    """Of this thread alone: threads share their working directory until they say otherwise (man 2 unshare)."""
    linux.unshare(linux.CLONE_FS)
    os.fchdir(folder)


def _drop_rights(user: User) -> None:
    """Take this thread's rights away, for good."""
    try:
        linux.set_thread_ids(user.uid, user.gid, user.groups)
    except OSError as error:
        raise Permanent(
            f"cannot become {user.name}: {error.strerror}",
            step=Step.SPAWN,
            remedy="vtapd needs CAP_SETUID and CAP_SETGID, and the uid of [guest] uids must be one that there is",
        ) from error
    linux.forbid_new_privileges()


def _bounded_file(name: str) -> int:
    """A file in memory that cannot grow: whoever writes it can fill it and no more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _STDERR_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor
