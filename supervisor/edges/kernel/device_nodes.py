"""The device nodes of a container's taps: /dev/tap0, /dev/tap1, …

`folder` is a descriptor of the directory that has them: the container's /dev, or a folder of the daemon's own for a
container in whose /dev no device can be opened. The container's processes can change its /dev at any moment.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from supervisor.core.container import FileOwner, Pid
from supervisor.core.links import DeviceNumber
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.linux import file_calls, mount_calls
from supervisor.linux.mount_calls import MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID

_AS_MADE = FileOwner(0, 0)
"""Of a node that was not given to the container's user yet. What any other user owns stays theirs."""


def why_unusable(pid: Pid, dev: int) -> str | None:
    """Return why devices in this container's /dev cannot be opened, or None if they can.

    A file system that was mounted in a user namespace shows devices and opens none (SB_I_NODEV in fs/super.c).
    """
    try:
        if not Path(f"/proc/{pid}/ns/user").samefile("/proc/self/ns/user"):
            return "its users are those of a user namespace, in which Linux opens no device node of its /dev"
    except OSError as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.NODE) from error
    return "its /dev is mounted with nodev" if os.fstatvfs(dev).f_flag & os.ST_NODEV else None


def open_own_folder() -> int:
    """Return a descriptor of an empty folder for nodes that only this process can reach. The caller owns it."""
    try:
        return mount_calls.open_unmounted("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, mode="0700")
    except OSError as error:
        raise Transient(f"cannot make a folder in memory: {error.strerror}", step=Step.NODE) from error


def observe_nodes(folder: int, slots: set[int], majors: set[int]) -> tuple[tuple[int, DeviceNumber], ...]:
    """Return which tapN of these slots are character devices of these major numbers, and their numbers."""
    nodes = ((slot, _device(_status(folder, f"tap{slot}"))) for slot in sorted(slots))
    return tuple((slot, device) for slot, device in nodes if device is not None and device.major in majors)


def observe_ungiven(folder: int, slots: Iterable[int], owner: FileOwner) -> frozenset[int]:
    """Return the slots whose nodes are still as the daemon makes them, though the container runs as another user."""
    if owner == _AS_MADE:
        return frozenset()
    return frozenset(slot for slot in slots if _owner(_status(folder, f"tap{slot}")) == _AS_MADE)


def make_node(
    folder: int, slot: int, device: DeviceNumber, owner: FileOwner, is_foreign: Callable[[DeviceNumber], bool]
) -> None:
    """Create tap<slot>, mode 0600, for this owner. It replaces the node of an older tap, and an empty regular file.

    A shell makes such a file that opens the node before it is there. Raises Permanent if something else has the name,
    also a macvtap for which `is_foreign` is true.
    """
    name = f"tap{slot}"
    found = _status(folder, name)
    try:
        if found is None:
            _create(folder, name, device)
        elif _device(found) != device:
            _replace(folder, slot, device, found, is_foreign)
        _give(folder, name, device, owner)
    except OSError as error:
        raise _refused(name, error) from error


def remove_node(folder: int, slot: int, device: DeviceNumber) -> None:
    """Remove tap<slot> if it still has this number. Raises Transient if it cannot be removed."""
    try:
        for name in (f"tap{slot}", _spare(slot)):
            if _device(_status(folder, name)) == device:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # just removed or replaced
                    os.unlink(name, dir_fd=folder)
    except OSError as error:
        raise Transient(
            f"cannot remove /dev/tap{slot} from the container: {error.strerror}",
            step=Step.NODE,
            remedy="the container's /dev must be writable",
        ) from error


def sweep(folder: int, slots: Iterable[int]) -> None:
    """Complete or undo a replacement during which a daemon was killed."""
    for slot in slots:
        spare = _status(folder, _spare(slot))
        if spare is None:
            continue
        with contextlib.suppress(OSError):
            if stat.S_ISREG(spare.st_mode) and not _is_empty_file(spare):
                file_calls.exchange(folder, _spare(slot), f"tap{slot}")  # it was filled meanwhile, and stays
                spare = _status(folder, _spare(slot))
            if spare is not None and (_is_empty_file(spare) or stat.S_ISCHR(spare.st_mode)):
                os.unlink(_spare(slot), dir_fd=folder)


def _replace(
    folder: int, slot: int, device: DeviceNumber, found: os.stat_result, is_foreign: Callable[[DeviceNumber], bool]
) -> None:
    """Put the node in the place of what was found, at once, and look again at what that was."""
    name, spare = f"tap{slot}", _spare(slot)
    old = _device(found)
    stale = old is not None and old.major == device.major and not is_foreign(old)
    if file_calls.is_mount_point(folder, name) or not (stale or _is_empty_file(found)):
        raise _taken(name)
    sweep(folder, (slot,))
    _create(folder, spare, device)
    try:
        file_calls.exchange(folder, spare, name)
        displaced = _status(folder, spare)
        same = displaced is not None and os.path.samestat(displaced, found)
        if displaced is not None and not (same and (stale or _is_empty_file(displaced))):
            file_calls.exchange(folder, spare, name)
            raise _taken(name)
        os.unlink(spare, dir_fd=folder)
    finally:
        if _device(_status(folder, spare)) == device:
            os.unlink(spare, dir_fd=folder)


def _refused(name: str, error: OSError) -> Permanent | Transient:
    said = f"cannot make /dev/{name} in the container: {error.strerror}"
    match error.errno:
        case errno.EEXIST | errno.ENOENT:  # the container changed its /dev at this moment, or has ended
            return Transient(said, step=Step.NODE)
        case errno.ENOSPC | errno.EDQUOT:
            return Transient(said, step=Step.NODE, remedy="free some space in the container's /dev")
        case errno.EROFS:
            return Permanent(said, step=Step.NODE, remedy="the container's /dev must be writable")
    remedy = (
        "vtapd needs CAP_MKNOD and DeviceAllow=char-macvtap rwm, which systemd looks up when it starts the service "
        "(systemctl restart vtapd)"
    )
    return Permanent(said, step=Step.NODE, remedy=remedy)


def _taken(name: str) -> Permanent:
    return Permanent(
        f"the container has a /dev/{name} of its own", step=Step.NODE, remedy="remove or rename it in the image"
    )


def _spare(slot: int) -> str:
    """Return the name that a node has for a moment, before it replaces something."""
    return f".vtapd-tap{slot}"


def _create(folder: int, name: str, device: DeviceNumber) -> None:
    os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(device.major, device.minor), dir_fd=folder)


def _give(folder: int, name: str, device: DeviceNumber, owner: FileOwner) -> None:
    """Give the node to its owner, unless it was given before, or exchanged."""
    pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(pinned)
        if _device(found) == device and _owner(found) == _AS_MADE != owner:
            os.chown(f"/proc/self/fd/{pinned}", owner.uid, owner.gid)
    finally:
        os.close(pinned)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _is_empty_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size == 0 and status.st_nlink == 1


def _device(status: os.stat_result | None) -> DeviceNumber | None:
    """Return the number of a character device; None for anything else."""
    if status is None or not stat.S_ISCHR(status.st_mode):
        return None
    return DeviceNumber(os.major(status.st_rdev), os.minor(status.st_rdev))


def _owner(status: os.stat_result | None) -> FileOwner | None:
    return FileOwner(status.st_uid, status.st_gid) if status else None


def rules_of_devices(devices: tuple[tuple[str, str], ...]) -> list[str]:
    """Return device rules such as `c 10:200 rwm` for paths of the host. A path that is no device is left out."""
    rules = []
    for path, access in devices:
        try:
            status = Path(path).stat()
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
            rules.append(f"{kind} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)} {access or 'rwm'}")
    return rules
