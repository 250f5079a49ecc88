"""What vtapd creates in a container's /dev: the nodes of its taps, and the ready mark.

`dev` is a descriptor of that directory. The container's processes can change it at any moment.
"""

import contextlib
import os
import stat
from pathlib import Path

from supervisor.core.model import DeviceNumber
from supervisor.errors import Permanent, Step, Transient

_READY_MARK = "vtapd-ready"
"""The container's health check reads it, since processes of the container cannot reach the guest."""


def observe_nodes(dev: int, slots: set[int], majors: set[int]) -> tuple[tuple[int, DeviceNumber], ...]:
    """Return which /dev/tapN of these slots are character devices of these major numbers, and their numbers."""
    nodes = ((slot, _node_device(dev, slot)) for slot in sorted(slots))
    return tuple((slot, device) for slot, device in nodes if device is not None and device.major in majors)


def make_node(dev: int, slot: int, device: DeviceNumber) -> None:
    """Create /dev/tap<slot>, mode 0600. It replaces the node of an older tap.

    It is not created under another name and renamed: if the daemon were killed between, that node would stay, and might
    be another container's tap one day. Raises Permanent if something else has the name.
    """
    before = _node_device(dev, slot)
    if before is not None and before.major != device.major:
        remedy = "remove or rename it in the image"
        raise Permanent(f"the container has a /dev/tap{slot} of its own", step=Step.NODE, remedy=remedy)
    try:
        if before is not None:
            os.unlink(f"tap{slot}", dir_fd=dev)
        os.mknod(f"tap{slot}", 0o600 | stat.S_IFCHR, os.makedev(device.major, device.minor), dir_fd=dev)
    except OSError as error:
        raise Permanent(
            f"cannot make /dev/tap{slot} in the container: {error.strerror}",
            step=Step.NODE,
            remedy="vtapd needs CAP_MKNOD and DeviceAllow=char-macvtap rwm, which systemd looks up when it starts the "
            "service (systemctl restart vtapd), and the container's /dev must be writable",
        ) from error


def _node_device(dev: int, slot: int) -> DeviceNumber | None:
    """Return the number of /dev/tap<slot>; 0:0 if it is no character device, None if it does not exist."""
    try:
        status = os.stat(f"tap{slot}", dir_fd=dev, follow_symlinks=False)
    except OSError:
        return None
    rdev = status.st_rdev if stat.S_ISCHR(status.st_mode) else 0
    return DeviceNumber(os.major(rdev), os.minor(rdev))


def remove_node(dev: int, slot: int, device: DeviceNumber) -> None:
    """Remove /dev/tap<slot> if it still has this number. Raises Transient if it cannot be removed."""
    if _node_device(dev, slot) != device:
        return
    try:
        os.unlink(f"tap{slot}", dir_fd=dev)
    except (FileNotFoundError, IsADirectoryError):
        return  # a process of the container has just removed or replaced it
    except OSError as error:
        raise Transient(
            f"cannot remove /dev/tap{slot} from the container: {error.strerror}",
            step=Step.NODE,
            remedy="the container's /dev must be writable",
        ) from error


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


def observe_ready_mark(dev: int) -> bool:
    """Return whether the container's /dev has the mark. Only a regular file counts."""
    try:
        return stat.S_ISREG(os.stat(_READY_MARK, dir_fd=dev, follow_symlinks=False).st_mode)
    except OSError:
        return False


def set_ready_mark(dev: int, is_ready: bool) -> None:
    """Create the mark, empty and readable for all, or remove it.

    If a process of the container has put something else in its place, that stays: no undo waits for it. Raises
    Transient if the mark cannot be created; the guest runs all the same.
    """
    if not is_ready:
        with contextlib.suppress(OSError):
            os.unlink(_READY_MARK, dir_fd=dev)
        return
    try:
        os.mknod(_READY_MARK, 0o444 | stat.S_IFREG, dir_fd=dev)
    except OSError as error:
        raise Transient(
            f"cannot make /dev/{_READY_MARK} in the container: {error.strerror}",
            step=Step.READY,
            remedy="its /dev must be writable, and that name vtapd's",
        ) from error
