"""Start QEMU: unprivileged, inside a container's namespaces, with few descriptors and narrow limits.

`spawn` runs in a temporary thread that has entered the namespaces. For the kernel, credentials belong to a thread (man
7 credentials; only libc applies them to the whole process). So that thread drops them by raw system calls before it
starts QEMU. QEMU is unprivileged from its first instruction, and a direct child of the daemon.

It uses posix_spawn, and exec closes the daemon's descriptors. The module subprocess would close each number up to the
limit one by one, because the thread may be in a sandbox without /proc. Nothing may be imported in that thread.
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
"""In addition to one for each of the guest's processors: QEMU's own pool has up to 64."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""QEMU gets their default actions; a process would inherit that they are ignored."""


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


def spawn(
    program: str,
    arguments: Sequence[str],
    descriptors: Sequence[int],
    folder: int,
    user: User,
    limits: Mapping[int, int],
) -> tuple[Pid, int]:
    """Start QEMU as this user, in this folder, with these descriptors, under the same numbers.

    Call it in a temporary thread, which has no rights afterwards. Return the pid of the child, and a descriptor of
    what it writes to standard error; the caller owns both. Raises Permanent if the program cannot be started.
    """
    stderr = _bounded_file("vtapd-qemu-stderr")
    try:
        _enter_folder(folder)
        _drop_rights(user)
        pid = _start(program, arguments, descriptors, stderr)
    except OSError as error:
        os.close(stderr)
        message = f"cannot start {program!a}: {error.strerror}"
        if isinstance(error, FileNotFoundError | PermissionError):
            remedy = "install QEMU (Debian: qemu-system-x86) or correct [guest] qemu"
            raise Permanent(message, step=Step.SPAWN, remedy=remedy) from error
        raise Transient(message, step=Step.SPAWN) from error
    except BaseException:
        os.close(stderr)
        raise
    with suppress(ProcessLookupError):  # it has exited already
        for limit, most in limits.items():
            # Allowed without CAP_SYS_RESOURCE, since this thread is that user by now (man 2 prlimit).
            resource.prlimit(pid, limit, (most, most))
    return Pid(pid), stderr


def _start(program: str, arguments: Sequence[str], descriptors: Sequence[int], stderr: int) -> int:
    """Start the program in a session of its own, with no other descriptors of this process."""
    return os.posix_spawn(
        program,
        [*arguments],
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
            *((os.POSIX_SPAWN_DUP2, each, each) for each in descriptors),  # which removes close-on-exec
        ],
        setsid=True,
        setsigdef=_IGNORED_BY_PYTHON,
    )


def _enter_folder(folder: int) -> None:
    """Change the working directory of this thread only: by default, threads share it (man 2 unshare)."""
    linux.unshare(linux.CLONE_FS)
    os.fchdir(folder)


def _drop_rights(user: User) -> None:
    """Drop this thread's rights for ever."""
    try:
        linux.set_thread_ids(user.uid, user.gid, user.groups)
    except OSError as error:
        raise Permanent(
            f"cannot become {user.name}: {error.strerror}",
            step=Step.SPAWN,
            remedy="vtapd needs CAP_SETUID and CAP_SETGID, and the uid of [guest] uids must exist",
        ) from error
    linux.forbid_new_privileges()


def _bounded_file(name: str) -> int:
    """Return a file in memory that cannot grow beyond its size, so that its writer cannot use up memory."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _STDERR_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor
