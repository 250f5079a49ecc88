"""Become QEMU: unprivileged, in a container's namespaces, with few descriptors and narrow limits.

This runs in the child, after the fork and before the exec. The reaper has a single thread, so what belongs to a process
or to a thread is the same here, and Python's own functions can be used. Nothing may be imported from here on: the child
may see no files of the host.
"""

import errno
import fcntl
import os
import resource
import signal
from contextlib import suppress
from typing import Any, NoReturn  # the order is JSON

from supervisor.linux import mount_calls, namespace_calls, process_calls
from supervisor.linux.mount_calls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from supervisor.linux.namespace_calls import CLONE_NEWNS, CLONE_NEWUSER
from supervisor.reaper.messages import STEP_EXEC, STEP_FORK, STEP_NAMESPACE, STEP_USER

IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The reaper ignores these: they are meant for the daemon, whose unit it may be in."""
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_PROCESSES_ONLY = {"subset": "pid"}
_PROC_WALLS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


class StepFailed(Exception):
    """A step failed with this errno."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step, number)
        self.step = step
        self.number = number


def become_qemu(order: dict[str, Any], descriptors: list[int], stderr: int, kept: tuple[int, int]) -> NoReturn:
    """Replace this process with the program. If that fails, report it and exit.

    `kept` are a pipe, to which it writes "STEP ERRNO" then, and the connection to the daemon. Both stay open until the
    exec, whatever numbers QEMU's descriptors get.
    """
    failure = kept[0]
    try:
        above = max((number for _, number in order["inherit"]), default=0) + 3
        failure = _copy_above(above, kept)
        _enter(order, descriptors)
        _become_user(order, descriptors)
        _replace(order, descriptors, stderr)
    except StepFailed as error:
        os.write(failure, f"{error.step} {error.number}".encode())
    except Exception:  # an order that this version does not understand
        os.write(failure, f"{STEP_EXEC} {errno.EINVAL}".encode())
    finally:
        os._exit(127)


def _copy_above(above: int, kept: tuple[int, int]) -> int:
    """Copy both descriptors to higher numbers. Return the first one's copy."""
    try:
        failure, _ = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in kept)
    except OSError:  # EINVAL, if the numbers that are left are below
        raise StepFailed(STEP_FORK, errno.EMFILE) from None
    return failure


def _enter(order: dict[str, Any], descriptors: list[int]) -> None:
    """Enter the namespaces, then the working directory: to enter a mount namespace changes it (man 2 setns)."""
    os.setsid()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("0")  # the service's own is for the daemon, and an unprivileged process may raise it
    try:
        for position, kind in order["namespaces"]:
            namespace_calls.setns(descriptors[position], kind)
        if order["mounts"]:
            shares = [(descriptors[position], path) for position, path in order["mounts"]]
            _mount_shares(shares, {} if order["has_rights_there"] else _PROCESSES_ONLY)
        os.fchdir(descriptors[order["folder"]])
    except OSError as error:
        raise StepFailed(STEP_NAMESPACE, error.errno or errno.EINVAL) from error


def _mount_shares(mounts: list[tuple[int, str]], options: dict[str, str]) -> None:
    """Mount them in a copy of the mount namespace, so that no other QEMU sees them, with the /proc that servers need.

    QEMU and virtiofsd change files by /proc/self/fd. This /proc is read-only, of the container's pid namespace, and
    shows only processes that its reader may trace (man 5 proc: hidepid). virtiofsd also reads /proc/sys/fs/file-max,
    and then makes the share its root directory.
    """
    namespace_calls.unshare(CLONE_NEWNS)
    for mount, path in mounts:
        mount_calls.attach_mount(mount, path)
    proc = mount_calls.open_unmounted("proc", _PROC_WALLS, hidepid="ptraceable", **options)
    mount_calls.attach_mount(proc, "/proc")
    os.close(proc)


def _become_user(order: dict[str, Any], descriptors: list[int]) -> None:
    """Drop all rights for ever, also those that the exec would give to root of a user namespace."""
    try:
        os.setgroups(order["groups"])  # before the namespace, in which they have no number
        if order["user_namespace"] is not None:
            namespace_calls.setns(descriptors[order["user_namespace"]], CLONE_NEWUSER)
        os.setresgid(order["gid"], order["gid"], order["gid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
        process_calls.forbid_new_privileges()
        if order["user_namespace"] is not None and not order["has_rights_there"]:
            process_calls.drop_capabilities()
    except (OSError, ValueError) as error:  # ValueError: more groups than the kernel allows
        raise StepFailed(STEP_USER, getattr(error, "errno", errno.EINVAL)) from error


def _replace(order: dict[str, Any], descriptors: list[int], stderr: int) -> NoReturn:
    try:
        for number in (*IGNORED, *_IGNORED_BY_PYTHON):  # a program would inherit that they are ignored
            signal.signal(number, signal.SIG_DFL)
        _place({0: os.open("/dev/null", os.O_RDWR), 2: stderr} | {to: descriptors[at] for at, to in order["inherit"]})
        os.dup2(0, 1)
        for limit, most in order["limits"].items():
            _limit(int(limit), most)
        os.execve(order["program"], order["arguments"], _ENVIRONMENT)  # noqa: S606  # no shell is wanted
    except (OSError, ValueError) as error:
        raise StepFailed(STEP_EXEC, getattr(error, "errno", errno.EINVAL)) from error


def _limit(limit: int, most: int) -> None:
    """Set the limit, unless it is lower already: to raise it takes CAP_SYS_RESOURCE."""
    present = resource.getrlimit(limit)[1]
    if present == resource.RLIM_INFINITY or present > most:
        resource.setrlimit(limit, (most, most))


def _place(wanted: dict[int, int]) -> None:
    """Give each descriptor its number, inheritable. The others of this process are closed by the exec."""
    above = max(wanted) + 1
    copies = {number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for number, descriptor in wanted.items()}
    for number, copy in copies.items():
        os.dup2(copy, number)
