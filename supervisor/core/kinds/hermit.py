"""Hermit: QEMU boots its loader (`vtapd.kernel`), whose module is the program (`vtapd.initrd`).

The command line is split as a shell does it: options, `env=K=V`, then `--` and the program's arguments. The exit device
says whether the program succeeded, but not its exit code. (hermit: src/env.rs, src/executor/network.rs,
src/arch/x86_64/kernel/processor.rs, src/executor/device.rs; loader's README.)
"""

import re
import shlex

from supervisor.core.kinds.checks import refuse_kernel_args, refuse_mounted_shares, refuse_mounts, room_left
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import format_environment
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
from supervisor.core.kinds.network import GuestNetwork, Room, left_out, netmask_of, usable_nics
from supervisor.core.kinds.refusal import check_text

_MARKERS = (b"hermit-loader", b"hermit_loader")
_ROOM = Room(dns=2)
_DNS_VARIABLE = "HERMIT_DNS"
_SUCCESS = 1


def _recognise(image: Image) -> str | None:
    if any(note.owner == b"HERMIT" for note in image.notes):
        return "Hermit's ELF note"
    found = image.entry in (Entry.MULTIBOOT, Entry.PVH) and image.has(*_MARKERS)
    return f"{image.entry.value} and the name of Hermit's loader" if found else None


def _boot(request: BootRequest) -> Boot:
    check_text("vtapd.args", request.args)
    refuse_kernel_args(request, "hermit")
    refuse_mounts(request, "a hermit guest has no option for a mount")
    refuse_mounted_shares(request, "a hermit guest mounts each share at a folder that has the name of its tag")
    network = request.network
    words = [*_network_words(network), *_dns_words(request)] if network else []
    program = ["--", request.args] if request.args else []
    env = format_environment(request.env, _format_variable, room_left(request, " ".join([*words, *program])))
    notes = (*(left_out(network, _ROOM) if network else ()), *env.notes)
    return Boot(" ".join([*words, *env.words, *program]), notes=notes)


def _format_variable(name: str, value: str) -> str:
    return shlex.quote(f"env={name}={value}")


def _network_words(network: GuestNetwork) -> list[str]:
    (nic,) = usable_nics(network, _ROOM)
    assert nic.ipv4 is not None, "usable_nics leaves out all others"
    # Without this option it would use gateway 10.0.5.1. Its own address as gateway leads nowhere.
    return ["-ip", nic.ipv4.ip, "-mask", netmask_of(nic.ipv4), "-gateway", nic.gateway4 or nic.ipv4.ip]


def _dns_words(request: BootRequest) -> list[str]:
    """Return the variables for its two DNS servers, unless the user sets them. Without the second it uses 1.1.1.1."""
    if request.network is None or any(name.startswith(_DNS_VARIABLE) for name, _ in request.env.variables):
        return []
    servers = _ROOM.dns_of(request.network)
    return [f"env={_DNS_VARIABLE}{number}={server}" for number, server in enumerate((servers * 2)[:2], 1)]


def _verdict_of_status(status: int) -> Verdict | None:
    value = debug_exit_code(status)
    return None if value is None else Verdict("guest-exit", 0 if value == _SUCCESS else 1)


HERMIT = GuestKind(
    name="hermit",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    format_words=shlex.join,
    shares=("virtiofs",),
    machine=Machine(devices=("pvpanic", "isa-debug-exit,iobase=0xf4,iosize=0x4")),
    console=(
        ConsolePattern(re.compile(rb"^(?:\[[^\]]*\]){1,2}\[(?:!!!)?PANIC(?:!!!)?\]"), panic),
        # An exception of the processor, such as `(#UD)` (src/arch/x86_64/kernel/interrupts.rs).
        ConsolePattern(re.compile(rb"^(?:\[[^\]]*\]){1,2}\[ERROR[^\]]*\] .*\(#[A-Z]{2}\)"), panic),
    ),
    verdict_of_status=_verdict_of_status,
    doc=KindDoc(
        recognised="Hermit's loader (its program is `vtapd.initrd` then), or its ELF note",
        network="`-ip`, `-mask`, `-gateway`, and the variables `HERMIT_DNS1` and `HERMIT_DNS2`",
        environment="`env=K=V`",
        share_mount="the guest does it, at a folder that has the name of the tag",
        ends="the exit device, which says success or failure, and the console (`PANIC`)",
    ),
)
