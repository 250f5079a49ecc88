"""Make a folder of a container a mount of its own, in which the container's root is the guest's user.

An unprivileged process of that user reads and writes through it what the container's root owns, and what it creates
belongs to the container's root on disk. Nothing else of the container or of the host is in the mount, also not what is
mounted inside the folder. (man 2 open_tree, man 2 mount_setattr: MOUNT_ATTR_IDMAP)
"""

import os
import threading
from contextlib import ExitStack
from errno import EINVAL, ENOSYS, EPERM

from supervisor.core.container import FileOwner, Pid
from supervisor.core.formats.proc_cgroup import file_system_with
from supervisor.errors import ContainerGone, Permanent, Rejected, Step, Transient, VtapdError
from supervisor.linux import file_calls, mount_calls, namespace_calls
from supervisor.linux.mount_calls import (
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
)
from supervisor.linux.namespace_calls import CLONE_FS, CLONE_NEWNS

_WALLS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW
"""For the file server alone: it opens no device and follows no symlink of the share, whatever the guest asks for."""
_ON_A_VOLUME = (
    "share a folder of a volume or a bind mount on ext4 or xfs (since Linux 5.12), btrfs (5.15) or tmpfs (6.3)"
)
_NO_LAYERS = (
    f"no Linux can do it on overlayfs; {_ON_A_VOLUME},"
    " or give the guest the whole image as its disk: vtapd build --rootfs"
)
"""Mapping its layers instead is no way: two overlays with one upper folder do not see each other's changes."""

_NOT_PERMITTED = (
    "vtapd needs CAP_SYS_ADMIN: run it as root; and share no mount that shows its files as another user's already"
)


def open_idmapped(pid: Pid, folder: int, label: str, user_namespace: int, *, read_only: bool) -> int:
    """Return a mount of a folder of the container that is mounted nowhere, with the users of the namespace.

    The caller owns it. `folder` is a descriptor of the folder. Blocks for less than a millisecond. Raises Rejected,
    naming the label, if the file system cannot do it.
    """
    with ExitStack() as owned:
        mount = _clone(pid, folder, label)
        owned.callback(os.close, mount)
        attributes = _WALLS | (MOUNT_ATTR_RDONLY if read_only else 0)
        try:
            mount_calls.set_mount_attributes(mount, attributes | MOUNT_ATTR_IDMAP, user_namespace)
        except OSError as error:
            if error.errno == EINVAL:
                raise _not_on(_observe_file_system(pid, folder), label) from error
            raise _translate(error, label, "map its owner") from error
        owned.pop_all()
        return mount


def observe_root_owner(pid: Pid) -> FileOwner:
    """Return which user of the host the container's root is: another one than root with Docker's userns-remap."""
    return FileOwner(*(_first_outside(pid, name) for name in ("uid_map", "gid_map")))


def _first_outside(pid: Pid, name: str) -> int:
    """Return the host's number of what is 0 in the process's user namespace (man 7 user_namespaces)."""
    try:
        lines = file_calls.read_file(f"/proc/{pid}/{name}").decode().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.SHARE) from error
    return next((int(line.split()[1]) for line in lines if line.split()[0] == "0"), 0)


def _clone(pid: Pid, folder: int, label: str) -> int:
    """Clone the mount in a thread that has entered the container's mount namespace, which the kernel requires.

    Nothing may be imported there: the thread sees the container's files.
    """
    cloned: list[int | VtapdError] = []

    def clone() -> None:
        try:
            cloned.append(_clone_inside(pid, folder))
        except OSError as error:
            gone = isinstance(error, (FileNotFoundError, ProcessLookupError))
            cloned.append(
                ContainerGone(f"process {pid} has ended", step=Step.SHARE)
                if gone
                else _translate(error, label, "make a mount of it")
            )

    try:
        thread = threading.Thread(target=clone, name="share", daemon=True)
        thread.start()
    except RuntimeError as error:
        raise Transient("no thread can be started", step=Step.SHARE, remedy="raise TasksMax or ulimit -u") from error
    thread.join()
    if isinstance(cloned[0], VtapdError):
        raise cloned[0]
    return cloned[0]


def _clone_inside(pid: Pid, folder: int) -> int:
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace_calls.unshare(CLONE_FS)  # or a thread may not change its mount namespace (man 2 setns)
        namespace_calls.setns(namespace, CLONE_NEWNS)
    finally:
        os.close(namespace)
    return mount_calls.clone_mount(folder)


def _observe_file_system(pid: Pid, folder: int) -> str | None:
    """Return the type of the file system of a folder of the container; None if it cannot be found."""
    try:
        about = file_calls.read_file(f"/proc/self/fdinfo/{folder}").decode().split()
        mounts = file_calls.read_file(f"/proc/{pid}/mountinfo").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return file_system_with(mounts, about[about.index("mnt_id:") + 1])


def _not_on(file_system: str | None, label: str) -> Rejected:
    where = f"on the file system {file_system}" if file_system else "on a file system"
    said = f"label {label}: the folder is {where}, whose files this Linux cannot show as another user's (mount_setattr)"
    return Rejected(said, step=Step.SHARE, remedy=_NO_LAYERS if file_system == "overlay" else _ON_A_VOLUME)


def _translate(error: OSError, label: str, what: str) -> VtapdError:
    said = f"label {label}: cannot {what}: {error.strerror}"
    if error.errno == ENOSYS:
        return Rejected(said, step=Step.SHARE, remedy="shares need Linux 5.14 or newer")
    if error.errno == EINVAL:
        return Rejected(said, step=Step.SHARE, remedy=_ON_A_VOLUME)
    if error.errno == EPERM:
        return Permanent(said, step=Step.SHARE, remedy=_NOT_PERMITTED)
    return Transient(said, step=Step.SHARE)
