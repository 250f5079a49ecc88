"""QEMU's argument vector, as data: every input is a value, descriptor numbers too. Nothing is started here."""

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.core.guests.kind import Boot, Machine
from supervisor.core.labels import GuestSpec
from supervisor.core.model import ContainerId

CONSOLE_FDSET = 1
DISK_FDSET = 2
TB_SIZE_MIB = 32
"""TCG's translation cache, part of what `[guest] overhead` stands for; QEMU's own default is a gigabyte."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The numbers under which QEMU finds what it was handed; it opens nothing by name but its own firmware."""

    image: int
    """The kernel; or the disk that is booted, open for reading and writing."""
    modules: tuple[int, ...]
    """In the order in which the kernel gets them."""
    tap: int
    qmp: int
    """A listening Unix socket."""
    console: int
    """A listening Unix socket."""
    log: int | None
    """The container's standard output; None where it cannot be written to."""

    def all(self) -> tuple[int, ...]:
        """What the process inherits, and nothing else."""
        log = () if self.log is None else (self.log,)
        return (self.image, *self.modules, self.tap, self.qmp, self.console, *log)


NAME_PREFIX = "vtapd-"


def guest_name(container_id: ContainerId) -> str:
    """What `-name` says: by this a guest of this container is recognised."""
    return NAME_PREFIX + container_id


def accelerator_of(command: Sequence[str]) -> str:
    """kvm or tcg, from an argument vector that `build_arguments` made."""
    return command[command.index("-accel") + 1].split(",")[0] if "-accel" in command[:-1] else "tcg"


def build_arguments(
    binary: str,
    container_id: ContainerId,
    spec: GuestSpec,
    accel: str,
    machine: Machine,
    boot: Boot,
    mac: str,
    mtu: int,
    fds: Descriptors,
) -> list[str]:
    """The whole argument vector. `accel` is what was chosen: kvm or tcg; `mac` and `mtu` are of the guest's NIC.

    Reference: qemu-system-x86_64(1), valid for QEMU 6.2 to 10.
    """
    return [
        binary,
        *("-name", guest_name(container_id)),
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
        *("-machine", spec.machine or machine.type),
        *_accelerator(accel),
        *("-m", f"{spec.memory_mib}M"),
        *("-smp", str(spec.cpus)),
        *(_disk(fds) if machine.boots_disk else _kernel(boot, fds)),
        *("-netdev", f"tap,id=net0,fd={fds.tap}"),
        *("-device", f"{machine.nic},netdev=net0,mac={mac},host_mtu={mtu},romfile="),
        *_console(fds),
        *("-chardev", f"socket,id=qmp,fd={fds.qmp},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *(word for device in machine.devices for word in ("-device", device)),
        *("-action", "reboot=shutdown,shutdown=poweroff,panic=shutdown"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    ]


def _accelerator(accel: str) -> list[str]:
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", f"tcg,tb-size={TB_SIZE_MIB}", "-cpu", "max"]


def _kernel(boot: Boot, fds: Descriptors) -> list[str]:
    arguments = ["-kernel", f"/proc/self/fd/{fds.image}"]
    if fds.modules:
        arguments += ["-initrd", ",".join(f"/proc/self/fd/{fd}" for fd in fds.modules)]
    if boot.command_line:
        arguments += ["-append", boot.command_line]
    return arguments


def _disk(fds: Descriptors) -> list[str]:
    """Without auto-read-only=off QEMU opens a file for reading first, and finds no such descriptor in the set."""
    return [
        *("-add-fd", f"fd={fds.image},set={DISK_FDSET}"),
        *("-drive", f"if=virtio,format=raw,auto-read-only=off,file=/dev/fdset/{DISK_FDSET}"),
    ]


def _console(fds: Descriptors) -> list[str]:
    chardev = f"socket,id=console,fd={fds.console},server=on,wait=off"
    arguments = []
    if fds.log is not None:
        arguments += ["-add-fd", f"fd={fds.log},set={CONSOLE_FDSET}"]
        chardev += f",logfile=/dev/fdset/{CONSOLE_FDSET},logappend=on"
    return [*arguments, "-chardev", chardev, "-serial", "chardev:console"]
