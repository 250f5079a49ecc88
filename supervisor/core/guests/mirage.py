"""MirageOS on Solo5's virtio binding, booted by multiboot.

The command line is the unikernel's own: its keys `--ipv4=ADDRESS/PREFIX` and so on, quoted as it was written. An
image for another of Solo5's targets is none that QEMU boots. Solo5 says how it was ended; before 0.12 it then halts
and QEMU lives on, since then it powers off. It hears no power button. (Solo5: bindings/exit.c, bindings/abort.c,
bindings/virtio/platform.c, elf_abi.h; mirage: lib/mirage/mirage_key.ml.)
"""

import re
import struct

from supervisor.core.guests.entry import Entry
from supervisor.core.guests.kind import Boot, ConsolePattern, GuestKind, Image, Stop, exit_code, panic
from supervisor.core.guests.network import GuestNetwork, Room, ipv4_of, left_out
from supervisor.core.guests.refusal import Env, check_text, refuse_env

_ABI_NOTE, _VIRTIO_TARGET = 0x31494241, 3  # "ABI1"; enum abi_target


def _recognise(image: Image) -> str | None:
    wanted = struct.pack("<I", _VIRTIO_TARGET)
    told = any(n.owner == b"Solo5" and n.type == _ABI_NOTE and n.content[:4] == wanted for n in image.notes)
    return "a multiboot header and Solo5's ELF note for virtio" if told and image.entry is Entry.MULTIBOOT else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args)
    refuse_env(env, "mirage")
    words = _network_words(network) if network else []
    if args:
        words.append(args)
    return Boot(" ".join(words), notes=left_out(network, Room(ipv6=True)) if network else ())


def _network_words(network: GuestNetwork) -> list[str]:
    nic = network.nics[0]
    words = []
    if nic.of_family(4) or not nic.of_family(6):
        words.append(f"--ipv4={ipv4_of(nic)}")
        words += [f"--ipv4-gateway={nic.gateway4}"] if nic.gateway4 else []
    for address in nic.of_family(6)[:1]:
        words.append(f"--ipv6={address}")
        words += [f"--ipv6-gateway={nic.reachable_gateway6}"] if nic.reachable_gateway6 else []
    return words


MIRAGE = GuestKind(
    name="mirage",
    recognise=_recognise,
    boot=_boot,
    stop=Stop.QUIT,
    console=(
        ConsolePattern(re.compile(rb"^Solo5: solo5_exit\((-?\d{1,9})\) called$"), exit_code),
        ConsolePattern(re.compile(rb"^Solo5: (?:solo5_abort\(\) called$|ABORT: |PANIC: )"), panic),
        ConsolePattern(re.compile(rb"^Solo5: Halted$"), final=True),
    ),
)
