"""MirageOS on Solo5's virtio binding, booted by multiboot.

The command line is the unikernel's: its keys `--ipv4=ADDRESS/PREFIX` and so on, quoted as the user wrote them. QEMU
cannot boot an image for another of Solo5's targets. Solo5 prints how the unikernel exited. Before 0.12 it then halts
and QEMU runs on; since then it powers off. It does not react to the power button. (Solo5: bindings/exit.c,
bindings/abort.c, bindings/virtio/platform.c, elf_abi.h; mirage: lib/mirage/mirage_key.ml.)
"""

import re
import struct

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import refuse_kernel_args, refuse_mounts, room_left
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import refuse_environment
from supervisor.core.kinds.kind import (
    Boot,
    BootRequest,
    ConsolePattern,
    GuestKind,
    Image,
    KindDoc,
    Stop,
    exit_code,
    panic,
)
from supervisor.core.kinds.network import GuestNetwork, Room, left_out, usable_nics
from supervisor.core.kinds.refusal import check_text

_ROOM = Room(ipv6=True)
_ROOM_BYTES = 8191
"""It cuts off a longer line without a message (bindings/virtio/platform.c)."""
_ABI_NOTE, _VIRTIO_TARGET = 0x31494241, 3  # "ABI1"; enum abi_target


def _recognise(image: Image) -> str | None:
    wanted = struct.pack("<I", _VIRTIO_TARGET)
    found = any(n.owner == b"Solo5" and n.type == _ABI_NOTE and n.content[:4] == wanted for n in image.notes)
    return "a multiboot header and Solo5's ELF note for virtio" if found and image.entry is Entry.MULTIBOOT else None


def _boot(request: BootRequest) -> Boot:
    check_text("vtapd.args", request.args)
    refuse_environment(request.env, "mirage")
    refuse_kernel_args(request, "mirage")
    refuse_mounts(request, "a mirage guest has no option for a mount")
    network = request.network
    words = _network_words(network) if network else []
    line = " ".join([*words, request.args] if request.args else words)
    room_left(request, line)
    return Boot(line, notes=left_out(network, _ROOM) if network else ())


def _network_words(network: GuestNetwork) -> list[str]:
    (nic,) = usable_nics(network, _ROOM)
    words = [f"--ipv4={nic.ipv4}"] if nic.ipv4 else []
    words += [f"--ipv4-gateway={nic.gateway4}"] if nic.gateway4 else []
    words += [f"--ipv6={nic.ipv6}"] if nic.ipv6 else []
    return words + ([f"--ipv6-gateway={nic.gateway6}"] if nic.gateway6 else [])


MIRAGE = GuestKind(
    name="mirage",
    recognise=_recognise,
    boot=_boot,
    ip_versions=(4, 6),
    most_bytes=_ROOM_BYTES,
    stop=Stop.QUIT,
    format_words=quoting.in_double_quotes,
    console=(
        ConsolePattern(re.compile(rb"^Solo5: solo5_exit\((-?\d{1,9})\) called$"), exit_code),
        ConsolePattern(re.compile(rb"^Solo5: (?:solo5_abort\(\) called$|ABORT: |PANIC: )"), panic),
        ConsolePattern(re.compile(rb"^Solo5: Halted$"), final=True),
    ),
    doc=KindDoc(
        recognised="a multiboot header and Solo5's ELF note for virtio",
        network="`--ipv4=`, `--ipv4-gateway=`, `--ipv6=` and `--ipv6-gateway=`",
        ends="power-off, and the console (`solo5_exit(N) called`, `Halted`)",
    ),
)
