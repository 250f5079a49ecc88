"""Build QEMU's argument vector. All input is values, including descriptor numbers; nothing is started here."""

import json
import re
from collections.abc import Mapping

from supervisor.core.container import ContainerId
from supervisor.core.guest.qemu_command import guest_name
from supervisor.core.guest.qemu_inputs import (
    COLD_BOOT,
    RAM,
    Card,
    Descriptors,
    DiskFile,
    GuestState,
    ShareDevice,
    share_folder,
)
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.kind import KERNEL, Boot, Machine

CONSOLE_FDSET = 1
DISK_FDSET = 2
FIRST_DISK_FDSET = 10
_RAW_FILE = "format=raw,auto-read-only=off,file.locking=on"
"""The format is never guessed from the content, which the guest writes. Without auto-read-only=off QEMU opens a file
for reading first, for which the set has no descriptor. The file is locked by its open file description, so that only
one guest uses a file that is written to."""
TB_SIZE_MIB = 32
"""TCG's translation cache, which is part of `[guest] overhead`. QEMU's default is a gigabyte."""
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
VGA_MIB = 4
"""Enough for 1024x768 in true colour. The part that a guest uses is part of `[guest] overhead`."""
_WITH_VGA = re.compile(r"q35|pc(-.*)?")


def build_arguments(
    binary: str,
    container_id: ContainerId,
    spec: GuestSpec,
    accel: str,
    machine: Machine,
    boot: Boot,
    fds: Descriptors,
    state: GuestState = COLD_BOOT,
) -> list[str]:
    """Return the whole argument vector. `accel` is kvm or tcg.

    Reference: qemu-system-x86_64(1), valid for QEMU 6.2 to 11.
    """
    return [
        binary,
        *("-name", guest_name(container_id)),
        *_machine(spec, accel, machine, state),
        *(_kernel(boot, fds) if fds.boot_disk is None else _boot_disk(fds.boot_disk)),
        *(argument for disk in fds.disks for argument in _further_disk(disk)),
        *(argument for share in fds.shares for argument in _share(share)),
        *(argument for card in fds.cards for argument in _card(machine, card)),
        *_console(fds),
        *("-chardev", f"socket,id=qmp,fd={fds.qmp},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"socket,id=events,fd={fds.events}"),
        *("-mon", "chardev=events,mode=control"),
        *_devices(spec, machine),
        *SANDBOX,
        *(("-incoming", "defer") if state.incoming else ()),
    ]


def trial_arguments(binary: str, spec: GuestSpec, accel: str, machine: Machine) -> list[str]:
    """Return arguments for a QEMU that builds the guest's machine, runs nothing, and obeys QMP on its standard input.

    It gets no file of the guest. In the place of a tap and of a disk there is something that leads nowhere.
    """
    card = card_properties(Card(0, (), "02:00:00:00:00:01", 1500))
    disks = ["-blockdev", "driver=null-co,node-name=disk", "-device", "virtio-blk-pci,drive=disk"]
    return [
        binary,
        "-S",
        *_machine(spec, accel, machine),
        *("-netdev", f"hubport,id={card['netdev']},hubid=0", "-device", _device(machine.nic, card)),
        *(disks if machine.boots_disk or spec.disks else ()),
        *_devices(spec, machine),
        *SANDBOX,
        *("-qmp", "stdio"),
    ]


def _machine(spec: GuestSpec, accel: str, machine: Machine, state: GuestState = COLD_BOOT) -> list[str]:
    options = (
        spec.machine or machine.type,
        *(("graphics=off",) if machine.firmware_on_serial else ()),
        *((f"memory-backend={RAM}",) if state.memory_file else ()),
    )
    return [
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
        *("-machine", ",".join(options)),
        *_accelerator(accel),
        *("-m", f"{spec.memory_mib}M"),
        *_memory(spec, state),
        *("-smp", str(spec.cpus)),
    ]


def _memory(spec: GuestSpec, state: GuestState) -> list[str]:
    if state.memory_file is None:
        return []
    share = "on" if state.shared else "off"
    file = f"mem-path={state.memory_file},size={spec.memory_mib}M,share={share}"
    return ["-object", f"memory-backend-file,id={RAM},{file}"]


def _devices(spec: GuestSpec, machine: Machine) -> list[str]:
    """Return the devices without a descriptor, and what the guest's own end does to QEMU."""
    return [
        *(word for device in machine.devices for word in ("-device", device)),
        *(("-device", "vmgenid,guid=auto") if spec.snapshot and has_vga(spec.machine or machine.type) else ()),
        *(_screen() if spec.screen else ()),
        *("-action", "reboot=shutdown,shutdown=poweroff,panic=shutdown"),
    ]


def _device(name: str, properties: Mapping[str, str | int]) -> str:
    return ",".join((name, *(f"{key}={value}" for key, value in properties.items())))


def _screen() -> list[str]:
    """Return the VGA card. It is last on the bus, so that it does not move other cards."""
    return ["-device", f"VGA,vgamem_mb={VGA_MIB}"]


def has_vga(machine: str) -> bool:
    """Return whether a machine of this type can have a VGA card: the others have no PCI, or no VGA."""
    return _WITH_VGA.fullmatch(machine) is not None


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


def _boot_disk(disk: int) -> list[str]:
    return [
        *("-add-fd", f"fd={disk},set={DISK_FDSET}"),
        *("-drive", f"if=virtio,{_RAW_FILE},file.filename=/dev/fdset/{DISK_FDSET}"),
    ]


def _further_disk(disk: DiskFile) -> list[str]:
    fdset, name = FIRST_DISK_FDSET + disk.number, f"disk{disk.number}"
    read_only = {"read-only": disk.read_only, "auto-read-only": False}
    file = {"driver": "file", "filename": f"/dev/fdset/{fdset}", "locking": "on", **read_only}
    node = {"driver": disk.format, "node-name": name, **read_only, "file": file}
    if disk.format == "qcow2":
        node["backing"] = None  # the guest may have written one into the header
    return [
        *("-add-fd", f"fd={disk.file},set={fdset}"),
        *("-blockdev", json.dumps(node)),
        *("-device", f"virtio-blk-pci,drive={name}"),
    ]


def _share(share: ShareDevice) -> list[str]:
    """Return a share. By 9p and without a security model no new file needs an owner, which QEMU may not set."""
    name = f"share{share.number}"
    if share.server is not None:
        chardev = f"socket,id={name},fd={share.server}"
        return ["-chardev", chardev, "-device", f"vhost-user-fs-pci,chardev={name},tag={share.tag}"]
    backend = f"local,id={name},path={share_folder(share.number)},security_model=none,multidevs=remap"
    if share.read_only:
        backend += ",readonly=on"
    return ["-fsdev", backend, "-device", f"virtio-9p-pci,fsdev={name},mount_tag={share.tag}"]


def _card(machine: Machine, card: Card) -> list[str]:
    backend = f"tap,id={card.netdev},{_plural('fd', card.queues)}"
    if card.vhosts:
        backend += f",vhost=on,{_plural('vhostfd', card.vhosts)}"
    properties = card_properties(card)
    if len(card.queues) > 1:
        properties |= {"mq": "on", "vectors": 2 * len(card.queues) + 2}
    return ["-netdev", backend, "-device", _device(machine.nic, properties)]


def card_properties(card: Card) -> dict[str, str | int]:
    """Return the properties of a card's device: with -device at the start, and with QMP's device_add later."""
    return {"id": card.device, "netdev": card.netdev, "mac": card.mac, "host_mtu": card.mtu, "romfile": ""}


def _plural(key: str, descriptors: tuple[int, ...]) -> str:
    """Format an option that has one name for one descriptor and another for several."""
    return f"{key}{'s' if len(descriptors) > 1 else ''}={':'.join(map(str, descriptors))}"


def _console(fds: Descriptors) -> list[str]:
    # QEMU waits for the daemon, which connects before it starts QEMU: no output may be missed.
    chardev = f"socket,id=console,fd={fds.console},server=on,wait=on"
    arguments = []
    if fds.log is not None:
        arguments += ["-add-fd", f"fd={fds.log},set={CONSOLE_FDSET}"]
        chardev += f",logfile=/dev/fdset/{CONSOLE_FDSET},logappend=on"
    return [*arguments, "-chardev", chardev, "-serial", "chardev:console"]
