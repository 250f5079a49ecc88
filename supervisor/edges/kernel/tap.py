"""A macvtap's character device: its number, and the descriptors that a guest uses.

The kernel names a tap by its ifindex, which is unique only within a namespace, but all namespaces share one devtmpfs.
So the host's /dev/tapN may belong to another container. Therefore the number is read in a sysfs of the namespace
itself, and an opened device is checked by its number and by TUNGETIFF. (drivers/net/macvtap.c, tap.c)
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.core.formats.net_dev import Traffic, parse_net_dev
from supervisor.core.links import DeviceNumber, IfIndex
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.linux.file_calls import read_record
from supervisor.linux.socket_calls import IFREQ

_TUNGETIFF, _TUNSETQUEUE = 0x800454D2, 0x400454D9  # linux/if_tun.h
_ATTACH_QUEUE, _DETACH_QUEUE = struct.pack("=H", 0x0200), struct.pack("=H", 0x0400)  # flags IFF_…_QUEUE
_MAX_FRAME_BYTES = 65536 + 64
_LINES_BYTES, _MOST_READS = 16384, 64


def has_macvtaps(sysfs: int) -> bool:
    """Return whether there is a macvtap in the namespace of this sysfs."""
    try:
        directory = os.open("class/macvtap", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=sysfs)
    except FileNotFoundError:
        return False  # the module is not loaded
    try:
        return bool(os.listdir(directory))  # noqa: PTH208  # a Path has no descriptor
    finally:
        os.close(directory)


def observe_devices(sysfs: int) -> frozenset[DeviceNumber]:
    """Return the numbers of all macvtaps in the namespace of this sysfs."""
    try:
        directory = os.open("class/macvtap", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=sysfs)
    except FileNotFoundError:
        return frozenset()
    found = set()
    try:
        for name in os.listdir(directory):  # noqa: PTH208  # a Path has no descriptor
            with contextlib.suppress(FileNotFoundError):  # just deleted
                major, _, minor = read_record(f"{name}/dev", directory).decode("ascii").strip().partition(":")
                found.add(DeviceNumber(int(major), int(minor)))
    finally:
        os.close(directory)
    return frozenset(found)


def observe_major() -> int | None:
    """Return the major number of all macvtaps (man 5 proc, /proc/devices).

    None while the module is not loaded, and for a service whose /proc shows processes alone (ProcSubset=pid).
    """
    try:
        lines = [line.split() for line in Path("/proc/devices").read_text().splitlines()]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Transient(f"cannot read /proc/devices: {error.strerror}", step=Step.TAP) from error
    return next((int(words[0]) for words in lines if words[1:] == ["macvtap"]), None)


def observe_index(sysfs: int, name: str) -> IfIndex:
    """Return the ifindex of a link, from a sysfs of its namespace, without waiting for RTNL."""
    try:
        return IfIndex(int(read_record(f"class/net/{name}/ifindex", sysfs)))
    except OSError as error:
        raise ContainerGone(f"the link {name} is gone: {error.strerror}", step=Step.MACVTAP) from error


def observe_device(sysfs: int, index: IfIndex) -> DeviceNumber:
    """Return the device number of the macvtap with this ifindex, from a sysfs of its namespace."""
    try:
        text = read_record(f"class/macvtap/tap{index}/dev", sysfs).decode("ascii")
    except OSError as error:
        raise ContainerGone(f"macvtap {index} has no device any more: {error.strerror}", step=Step.MACVTAP) from error
    major, _, minor = text.strip().partition(":")
    return DeviceNumber(int(major), int(minor))


def find_device(sysfs: int, index: IfIndex) -> DeviceNumber | None:
    """Return the device number of the macvtap with this ifindex; None if there is no such macvtap."""
    try:
        return observe_device(sysfs, index)
    except ContainerGone:
        return None


def observe_traffic(pid: Pid, names: Collection[str]) -> dict[str, Traffic]:
    """Return the traffic of these links in a process's network namespace. rx is what a guest receives.

    Links that do not exist are left out, and so are those behind thousands of links that a container has made.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    found: dict[str, Traffic] = {}
    try:
        for _ in range(_MOST_READS):  # each returns whole lines, at most a page (fs/seq_file.c)
            lines = os.read(descriptor, _LINES_BYTES).decode("utf-8", "replace")
            found |= parse_net_dev(lines, names)
            if not lines or len(found) == len(names):
                break
    except OSError:
        return {}
    finally:
        os.close(descriptor)
    return found


def open_tap(directory: int, node: str, device: DeviceNumber, name: str) -> int:
    """Open the node in this directory, if it is the tap of this number and name. The caller owns the descriptor.

    Each open adds a queue that takes its share of the packets: open once for a guest's life.
    """
    # O_PATH holds the inode without calling a driver, so the node that is checked is the node that is opened.
    try:
        pinned = os.open(node, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        raise ContainerGone(f"node {node} is gone: {error.strerror}", step=Step.TAP) from error
    try:
        found = os.fstat(pinned).st_rdev
        if (os.major(found), os.minor(found)) != (device.major, device.minor):
            raise Transient(f"node {node} was exchanged for another device", step=Step.TAP)
        tap = os.open(f"/proc/self/fd/{pinned}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _translate(error, f"cannot open the tap {name} ({device})") from error
    finally:
        os.close(pinned)
    try:
        found_name = _name_of(tap)
    except OSError as error:
        os.close(tap)
        raise _translate(error, f"device {device} is no tap") from error
    if found_name != name:
        os.close(tap)
        raise Transient(f"device {device} is another tap than {name}", step=Step.TAP)
    return tap


def is_tap(descriptor: int, device: DeviceNumber, name: str) -> bool:
    """Return whether an open descriptor is a queue of the tap with this number and name."""
    status = os.fstat(descriptor)
    same = stat.S_ISCHR(status.st_mode) and (os.major(status.st_rdev), os.minor(status.st_rdev)) == (
        device.major,
        device.minor,
    )
    try:
        return same and _name_of(descriptor) == name
    except OSError:
        return False


def _name_of(tap: int) -> str:
    answer = fcntl.ioctl(tap, _TUNGETIFF, IFREQ.pack(b"", b""))
    name: bytes = IFREQ.unpack(answer)[0]
    return name.rstrip(b"\0").decode("ascii", "replace")


def open_queues(directory: int, node: str, device: DeviceNumber, name: str, count: int) -> tuple[int, ...]:
    """Open a tap so many times. Each descriptor is a queue. The caller owns them."""
    with ExitStack() as owned:
        queues = []
        for _ in range(count):
            queues.append(open_tap(directory, node, device, name))
            owned.callback(os.close, queues[-1])
        owned.pop_all()
    return tuple(queues)


def attach_queue(tap: int) -> None:
    """Let the queue receive packets again, if an earlier guest has turned that off."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(tap, _TUNSETQUEUE, IFREQ.pack(b"", _ATTACH_QUEUE))


def detach_queue(tap: int) -> None:
    """Let the queue receive no more packets: the others get them. What it has received stays in it.

    Raises Transient if the macvtap is gone.
    """
    try:
        fcntl.ioctl(tap, _TUNSETQUEUE, IFREQ.pack(b"", _DETACH_QUEUE))
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is detached already
            raise _translate(error, "cannot detach a queue of the tap") from error


def has_packets(taps: Collection[int]) -> bool:
    """Return whether a packet waits in one of these queues."""
    poll = select.poll()
    for tap in taps:
        poll.register(tap, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


def is_connected(tap: int) -> bool:
    """Return whether the descriptor's macvtap still exists. If it was deleted, no packet ever arrives."""
    try:
        fcntl.ioctl(tap, _TUNGETIFF, IFREQ.pack(b"", b""))
    except OSError:
        return False
    return True


def drain(tap: int) -> int:
    """Discard the packets that wait on a tap, which are for an earlier guest. Returns how many there were."""
    for count in range(4096):
        try:
            os.read(tap, _MAX_FRAME_BYTES)
        except OSError:
            return count
    return 4096


def _translate(error: OSError, what: str) -> Permanent | Transient:
    said = f"{what}: {error.strerror}"
    if error.errno in (errno.EPERM, errno.EACCES):
        # systemd resolves char-macvtap when it starts the service; before macvtap is loaded, it has no number.
        remedy = "vtapd must be allowed to: DeviceAllow=char-macvtap rwm in its unit, and systemctl restart vtapd"
        return Permanent(said, step=Step.TAP, remedy=remedy)
    return Transient(said, step=Step.TAP)
