"""Device rules under cgroup v1: text files of the devices controller.

Reference: Documentation/admin-guide/cgroup-v1/devices.rst.
"""

import errno
import os
from pathlib import Path

from supervisor.core.device_rules import allows, format_rule, has_own_rule
from supervisor.core.model import DeviceNumber
from supervisor.errors import ContainerGone, Permanent, Transient, VtapdError


def observe_rules(devices_cgroup: str, devices: frozenset[DeviceNumber]) -> frozenset[DeviceNumber]:
    """Which of these devices the cgroup may open."""
    listing = _listing(devices_cgroup)
    return frozenset(device for device in devices if allows(listing, device))


def allow_device(devices_cgroup: str, device: DeviceNumber) -> None:
    """Open exactly this device. Idempotent."""
    _write(devices_cgroup, "devices.allow", format_rule(device))


def deny_device(devices_cgroup: str, device: DeviceNumber) -> None:
    """Take the rule away again; nothing where everything was open before there was a rule."""
    if has_own_rule(_listing(devices_cgroup), device):
        _write(devices_cgroup, "devices.deny", format_rule(device))


def _listing(devices_cgroup: str) -> str:
    try:
        return Path(devices_cgroup, "devices.list").read_text()
    except OSError as error:
        raise _translate(error, "read devices.list") from error


def _write(devices_cgroup: str, name: str, rule: str) -> None:
    try:
        descriptor = os.open(f"{devices_cgroup}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, rule.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _translate(error, f"write {rule!r} to {name}") from error


def _translate(error: OSError, what: str) -> VtapdError:
    said = f"cannot {what} of the container's cgroup: {error.strerror}"
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return ContainerGone(said, step="device_rule")
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Permanent(
            said,
            step="device_rule",
            remedy="vtapd needs CAP_SYS_ADMIN and a writable cgroup file system: run it as root",
        )
    return Transient(said, step="device_rule")
