"""Device rules of cgroup v1: text files of the devices controller.

Reference: Documentation/admin-guide/cgroup-v1/devices.rst.
"""

import errno
import os

from supervisor.core.devices.v1_rules import allows, exact_devices, format_rule, has_own_rule
from supervisor.core.links import DeviceNumber
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError
from supervisor.linux.file_calls import read_file


class CgroupV1Rules:
    """The device rules of one container."""

    note: str | None = None

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def close(self) -> None:
        """Do nothing: no descriptor is held."""

    def observe(self, devices: frozenset[DeviceNumber]) -> frozenset[DeviceNumber]:
        """Return which of these devices the container may open."""
        listing = self._listing()
        return frozenset(device for device in devices if allows(listing, device))

    def observe_own(self) -> frozenset[DeviceNumber]:
        """Return the devices of rules like those of `allow`. Some may be Docker's, which look the same."""
        return exact_devices(self._listing())

    def allow(self, device: DeviceNumber) -> None:
        """Let the container open exactly this device. Idempotent."""
        self._write("devices.allow", format_rule(device))

    def deny(self, device: DeviceNumber) -> None:
        """Remove the rule; do nothing if the container may open every device."""
        if has_own_rule(self._listing(), device):
            self._write("devices.deny", format_rule(device))

    def deny_all(self) -> None:
        """Forbid every device, as Docker does first in a new cgroup."""
        self._write("devices.deny", "a")

    def _listing(self) -> str:
        try:
            return read_file(f"{self._directory}/devices.list").decode("ascii")
        except OSError as error:
            raise _translate(error, "read devices.list") from error

    def _write(self, name: str, rule: str) -> None:
        try:
            descriptor = os.open(f"{self._directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, rule.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _translate(error, f"write {rule!r} to {name}") from error


def _translate(error: OSError, what: str) -> VtapdError:
    said = f"cannot {what} of the container's cgroup: {error.strerror}"
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return ContainerGone(said, step=Step.DEVICE_RULE)
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Permanent(
            said,
            step=Step.DEVICE_RULE,
            remedy="vtapd needs CAP_SYS_ADMIN and a writable cgroup file system: run it as root",
        )
    return Transient(said, step=Step.DEVICE_RULE)
