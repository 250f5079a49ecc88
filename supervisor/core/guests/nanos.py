"""Nanos: a disk with boot loader, kernel and program, whose arguments, environment and network are baked in.

A kernel alone is booted directly, where QEMU can do that (its PVH entry), and then takes an address as words. Crash
and clean end alike end QEMU; the exit device's value is the program's code. The power button shuts it down. (nanos:
src/net/net.c, src/unix/signal.c, src/drivers/acpi.c, src/x86_64/kvm_platform.c.)
"""

import re
from dataclasses import replace

from supervisor.core.guests.entry import Entry
from supervisor.core.guests.kind import (
    Boot,
    ConsolePattern,
    GuestKind,
    Image,
    Machine,
    Stop,
    Verdict,
    debug_exit_code,
    panic,
)
from supervisor.core.guests.network import GuestNetwork, Room, ipv4_of, left_out, netmask_of
from supervisor.core.guests.refusal import Env, refuse_env, refused

_FILE_SYSTEM, _SYSTEM = b"NVMTFS", b"Nanos\0"  # TFS_MAGIC; what uname() answers
_DEVICES = ("pvpanic", "isa-debug-exit,iobase=0x501,iosize=0x2")
_SIGNAL = re.compile(rb"^(?:\*\*\* )?signal \d{1,2} received by tid \d+, errno -?\d+, code -?\d+$")
_BAKED_NETWORK = "The guest is told nothing of its network: it has what is baked into its image, or asks DHCP."


def _recognise_disk(image: Image) -> str | None:
    return "a boot sector and Nanos's file system" if image.entry is Entry.DISK and image.has(_FILE_SYSTEM) else None


def _recognise_kernel(image: Image) -> str | None:
    return "a PVH note and Nanos's names" if image.entry is Entry.PVH and image.has(_SYSTEM) else None


def _boot_disk(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    _refuse_baked(args, env)
    return Boot(notes=(_BAKED_NETWORK,) if network else ())


def _boot_kernel(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    _refuse_baked(args, env)
    if network is None:
        return Boot()
    nic = network.nics[0]
    address = ipv4_of(nic)
    card = f"en{nic.index + 1}"
    words = [f"{card}.ipaddr={address.ip}", f"{card}.netmask={netmask_of(address)}"]
    words += [f"{card}.gateway={nic.gateway4}"] if nic.gateway4 else []
    return Boot(" ".join(words), notes=left_out(network, Room()))


def _refuse_baked(args: str, env: Env) -> None:
    refuse_env(env, "nanos")
    if args:
        raise refused("vtapd.args", args, "nothing: a nanos guest's arguments are baked into its image")


def _verdict_of_status(status: int) -> Verdict | None:
    code = debug_exit_code(status)
    return None if code is None else Verdict("guest-exit", code)


NANOS_DISK = GuestKind(
    name="nanos",
    recognise=_recognise_disk,
    markers=(_FILE_SYSTEM, _SYSTEM),
    boot=_boot_disk,
    stop=Stop.POWERDOWN,
    machine=Machine(devices=_DEVICES, boots_disk=True),
    console=(ConsolePattern(_SIGNAL, panic),),
    verdict_of_status=_verdict_of_status,
)
NANOS_KERNEL = replace(NANOS_DISK, recognise=_recognise_kernel, boot=_boot_kernel, machine=Machine(devices=_DEVICES))
