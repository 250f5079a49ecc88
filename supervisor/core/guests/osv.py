"""OSv: one Linux program on a kernel of its own, its options in front of the program's path on the command line.

A clean end powers off and QEMU exits with 0. After a crash QEMU lives on: the console shows a backtrace, and pvpanic
tells QEMU where the build has its driver. Nobody listens to the power button. (osv: loader.cc, runtime.cc, core/app.cc,
drivers/acpi.cc.)
"""

import re

from supervisor.core.guests.entry import Entry
from supervisor.core.guests.kind import MANY_CARDS, Boot, ConsolePattern, GuestKind, Image, Stop, exit_code, panic
from supervisor.core.guests.network import GuestNetwork, Room, ipv4_of, left_out, netmask_of
from supervisor.core.guests.refusal import Env, check_env, check_text

_MARKERS = (b"power-off-on-abort", b"_ZN3osv")


def _recognise(image: Image) -> str | None:
    """Its loader.elf has a PVH note, its vmlinuz.bin Linux's boot header; loader-stripped.elf keeps the options."""
    told = image.entry is not Entry.DISK and image.has(*_MARKERS)
    return f"{image.entry.value} and OSv's options or symbols" if told else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args)
    check_env(env, without=" \"'\\")
    room = Room(nics=len(network.nics) if network else 0, dns=1)
    words = _network_words(network, room) if network else []
    words += [f"--env={key}={value}" for key, value in env]
    if args:
        words.append(args)
    return Boot(" ".join(words), notes=left_out(network, room) if network else ())


def _network_words(network: GuestNetwork, room: Room) -> list[str]:
    words = []
    for nic in network.nics:
        address = ipv4_of(nic)
        words.append(f"--ip={nic.name},{address.ip},{netmask_of(address)}")
    gateway = next((nic.gateway4 for nic in network.nics if nic.gateway4), None)
    words += [f"--defaultgw={gateway}"] if gateway else []
    return words + [f"--nameserver={server}" for server in room.dns_of(network)]


OSV = GuestKind(
    name="osv",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    most_cards=MANY_CARDS,
    console=(
        ConsolePattern(re.compile(rb"^program .* returned (-?\d{1,9})$"), exit_code),
        ConsolePattern(re.compile(rb"^\[backtrace\]$"), panic, final=True, last_words_s=0.5),
    ),
)
