"""Nanos: a disk with boot loader, kernel and program, whose arguments, environment and network are baked in.

QEMU can boot a kernel without a disk by its PVH entry. Such a kernel reads no command line, so it takes no arguments
(pvh_start in platform/pc/service.c). QEMU exits after a crash and after a clean exit; the exit device's value is the
program's exit code. The power button shuts it down. (nanos: src/net/net.c, src/unix/signal.c, src/drivers/acpi.c,
src/x86_64/kvm_platform.c.)
"""

import re
from dataclasses import replace

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import refuse_kernel_args, refuse_mounted_shares, refuse_mounts
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import refuse_environment
from supervisor.core.kinds.kind import (
    Boot,
    BootRequest,
    ConsolePattern,
    GuestKind,
    Image,
    KindDoc,
    Machine,
    Stop,
    Verdict,
    debug_exit_code,
    panic,
)
from supervisor.core.kinds.network import names_left_out
from supervisor.core.kinds.refusal import refused

_FILE_SYSTEM, _SYSTEM = b"NVMTFS", b"Nanos\0"  # TFS_MAGIC; what uname() answers
_DEVICES = ("pvpanic", "isa-debug-exit,iobase=0x501,iosize=0x2")
_SIGNAL = re.compile(rb"^(?:\*\*\* )?signal \d{1,2} received by tid \d+, errno -?\d+, code -?\d+$")
_BAKED_NETWORK = "Nothing of its network is passed to the guest: it has what is baked into its image, or uses DHCP."


def _recognise_disk(image: Image) -> str | None:
    return "a boot sector and Nanos's file system" if image.entry is Entry.DISK and image.has(_FILE_SYSTEM) else None


def _recognise_kernel(image: Image) -> str | None:
    return "a PVH note and Nanos's names" if image.entry is Entry.PVH and image.has(_SYSTEM) else None


def _boot(request: BootRequest) -> Boot:
    _refuse_baked(request)
    return Boot(notes=(_BAKED_NETWORK, *names_left_out(request.network)) if request.network else ())


def _refuse_baked(request: BootRequest) -> None:
    refuse_environment(request.env, "nanos")
    refuse_kernel_args(request, "nanos")
    refuse_mounts(request, "what a nanos guest mounts is baked into its image")
    refuse_mounted_shares(request, "what a nanos guest mounts is baked into its image, as mounts of %TAG")
    if request.args:
        raise refused("vtapd.args", request.args, "nothing: a nanos guest's arguments are baked into its image")


def _verdict_of_status(status: int) -> Verdict | None:
    code = debug_exit_code(status)
    return None if code is None else Verdict("guest-exit", code)


NANOS_DISK = GuestKind(
    name="nanos",
    recognise=_recognise_disk,
    markers=(_FILE_SYSTEM, _SYSTEM),
    boot=_boot,
    ip_versions=(),
    stop=Stop.POWERDOWN,
    format_words=quoting.none,
    machine=Machine(devices=_DEVICES, boots_disk=True),
    console=(ConsolePattern(_SIGNAL, panic),),
    verdict_of_status=_verdict_of_status,
    shares=("9p",),
    doc=KindDoc(
        recognised="a disk with Nanos's file system, or its ELF kernel",
        network="what is written into the disk, or DHCP, which its container answers",
        share_mount="what is written into the disk (`mounts`, with `%` before the tag)",
        ends="the exit device, which has its code, and the console (`signal N received`)",
    ),
)
NANOS_KERNEL = replace(
    NANOS_DISK,
    recognise=_recognise_kernel,
    machine=Machine(devices=_DEVICES),
)
