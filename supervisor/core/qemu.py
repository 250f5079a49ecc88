"""QEMU's argument vector, as data: every input is a value, descriptor numbers too. Nothing is started here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from supervisor.core.guests.kind import Boot, Machine
from supervisor.core.labels import GuestSpec
from supervisor.core.model import ContainerId

KERNEL = "kernel"
"""The name in QEMU's working directory under which it finds the kernel."""
CONSOLE_FDSET = 1
DISK_FDSET = 2
TB_SIZE_MIB = 32
"""TCG's translation cache, part of what `[guest] overhead` stands for; QEMU's own default is a gigabyte."""


@dataclass(frozen=True, slots=True)
class Card:
    """One network card, on a tap whose descriptor QEMU was handed."""

    slot: int
    """N of /dev/tapN, by which the card is named."""
    tap: int
    mac: str
    mtu: int

    @property
    def netdev(self) -> str:
        return netdev_name(self.slot)

    @property
    def device(self) -> str:
        return device_name(self.slot)


def netdev_name(slot: int) -> str:
    """QEMU's name of the host's side of a card."""
    return f"net{slot}"


def device_name(slot: int) -> str:
    """QEMU's name of the card itself."""
    return f"nic{slot}"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What QEMU was handed, by number; the rest lies in its working directory, by name."""

    disk: int | None
    """The disk that is booted, open for reading and writing; None where a kernel is."""
    modules: tuple[str, ...]
    """Names, in the order in which the kernel gets them."""
    cards: tuple[Card, ...]
    qmp: int
    """A listening Unix socket."""
    console: int
    """A listening Unix socket."""
    log: int | None
    """The container's standard output; None where it cannot be written to."""

    def all(self) -> tuple[int, ...]:
        """What the process inherits, and nothing else."""
        optional = tuple(each for each in (self.disk, self.log) if each is not None)
        return (*(card.tap for card in self.cards), self.qmp, self.console, *optional)


NAME_PREFIX = "vtapd-"
_NETDEV = re.compile(r"tap,id=net(\d{1,4}),.*")


def module_name(number: int) -> str:
    """The name in QEMU's working directory of the kernel's module of this number."""
    return f"module{number}"


def guest_name(container_id: ContainerId) -> str:
    """What `-name` says: by this a guest of this container is recognised."""
    return NAME_PREFIX + container_id


def accelerator_of(command: Sequence[str]) -> str:
    """kvm or tcg, from an argument vector that `build_arguments` made."""
    return command[command.index("-accel") + 1].split(",")[0] if "-accel" in command[:-1] else "tcg"


def slots_of(command: Sequence[str]) -> tuple[int, ...]:
    """The slots that it was started with cards on, from an argument vector that `build_arguments` made."""
    netdevs = (value for option, value in pairwise(command) if option == "-netdev")
    return tuple(int(match[1]) for match in map(_NETDEV.fullmatch, netdevs) if match)


def build_arguments(
    binary: str,
    container_id: ContainerId,
    spec: GuestSpec,
    accel: str,
    machine: Machine,
    boot: Boot,
    fds: Descriptors,
) -> list[str]:
    """The whole argument vector. `accel` is what was chosen: kvm or tcg.

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
        *(_kernel(boot, fds) if fds.disk is None else _disk(fds.disk)),
        *(argument for card in fds.cards for argument in _card(machine, card)),
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
    arguments = ["-kernel", KERNEL]
    if fds.modules:
        arguments += ["-initrd", ",".join(fds.modules)]
    if boot.command_line:
        arguments += ["-append", boot.command_line]
    return arguments


def _disk(disk: int) -> list[str]:
    return [
        *("-add-fd", f"fd={disk},set={DISK_FDSET}"),
        *("-drive", f"if=virtio,format=raw,file=/dev/fdset/{DISK_FDSET}"),
    ]


def _card(machine: Machine, card: Card) -> list[str]:
    return [
        *("-netdev", f"tap,id={card.netdev},fd={card.tap}"),
        *(
            "-device",
            f"{machine.nic},id={card.device},netdev={card.netdev},mac={card.mac},host_mtu={card.mtu},romfile=",
        ),
    ]


def _console(fds: Descriptors) -> list[str]:
    chardev = f"socket,id=console,fd={fds.console},server=on,wait=off"
    arguments = []
    if fds.log is not None:
        arguments += ["-add-fd", f"fd={fds.log},set={CONSOLE_FDSET}"]
        chardev += f",logfile=/dev/fdset/{CONSOLE_FDSET},logappend=on"
    return [*arguments, "-chardev", chardev, "-serial", "chardev:console"]
