"""Hermit: QEMU boots its loader (`vtapd.kernel`), whose module is the program (`vtapd.initrd`).

The command line is split as a shell would: options, `env=K=V` words, then `--` and the program's own. The exit device
says whether the program was well, and not its code. (hermit: src/env.rs, src/executor/network.rs,
src/arch/x86_64/kernel/processor.rs; loader's README.)
"""

import re
import shlex

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
from supervisor.core.guests.refusal import Env, check_env, check_text

_MARKERS = (b"hermit-loader", b"hermit_loader")
_WELL = 1


def _recognise(image: Image) -> str | None:
    if any(note.owner == b"HERMIT" for note in image.notes):
        return "Hermit's ELF note"
    told = image.entry in (Entry.MULTIBOOT, Entry.PVH) and image.has(*_MARKERS)
    return f"{image.entry.value} and the name of Hermit's loader" if told else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args)
    check_env(env)
    words = _network_words(network) if network else []
    words += [shlex.quote(f"env={key}={value}") for key, value in env]
    if args:
        words += ["--", args]
    return Boot(" ".join(words), notes=left_out(network, Room()) if network else ())


def _network_words(network: GuestNetwork) -> list[str]:
    nic = network.nics[0]
    address = ipv4_of(nic)
    # Without a gateway it takes 10.0.5.1, wherever it is; its own address is one that leads nowhere.
    return ["-ip", address.ip, "-mask", netmask_of(address), "-gateway", nic.gateway4 or address.ip]


def _verdict_of_status(status: int) -> Verdict | None:
    value = debug_exit_code(status)
    return None if value is None else Verdict("guest-exit", 0 if value == _WELL else 1)


HERMIT = GuestKind(
    name="hermit",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    machine=Machine(devices=("pvpanic", "isa-debug-exit,iobase=0xf4,iosize=0x4")),
    console=(ConsolePattern(re.compile(rb"^(?:\[[^\]]*\]){1,2}\[(?:!!!)?PANIC(?:!!!)?\]"), panic),),
    verdict_of_status=_verdict_of_status,
)
