"""Unikraft, booted by multiboot, in its two syntaxes: since 0.16 and before.

Since 0.16 a card is one word `netdev.ip=ADDRESS/PREFIX:GATEWAY:DNS0:DNS1:HOST:DOMAIN`, whose fields may be empty but
whose `/` may not be missing, or the guest asks DHCP; several cards are a list in brackets. Before, there were three
words for one card and none for DNS. It wants a legacy (transitional) NIC. Whatever ends it, it powers off and QEMU
exits with 0: the console alone tells a crash. (unikraft: lib/uknetdev, lib/uklibparam, plat/kvm.)
"""

import re
from dataclasses import replace

from supervisor.core.guests.kind import MANY_CARDS, Boot, ConsolePattern, GuestKind, Image, Stop, exit_code, panic
from supervisor.core.guests.multiboot import has_multiboot_header
from supervisor.core.guests.network import GuestNetwork, Nic, Room, ipv4_of, left_out, netmask_of
from supervisor.core.guests.refusal import Env, check_env, check_text, refuse_env

_NAME = "vtapd"
"""The first word is the program's name, whatever it is."""
_MARKERS = (b"Powered by Unikraft", b"uk_inittab", b"libkvmplat", b"libukboot")
_OLD_WORD = b"ipv4_subnet_mask"
_FIELD = re.compile(r"[A-Za-z0-9.-]*")
# `[    0.195844] CRIT: [libkvmplat] <traps.c @   83> …`, where time and place depend on the build.
_FRONT = rb"^(?:\[ *\d+\.\d+\] )?%s: (?:<[^>]*> )?\[\w+\] (?:<[^>]*> )?"
_CRASH = rb"(?:Unhandled Trap \d|Assertion failure|.*abort called)"


def _is_unikraft(image: Image) -> bool:
    return has_multiboot_header(image.head) and image.has(*_MARKERS)


def _recognise(image: Image) -> str | None:
    told = _is_unikraft(image) and not image.has(_OLD_WORD)
    return "a multiboot header and Unikraft's names" if told else None


def _recognise_old(image: Image) -> str | None:
    told = _is_unikraft(image) and image.has(_OLD_WORD)
    return "a multiboot header, Unikraft's names and its network words from before 0.16" if told else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args)
    check_env(env, without='"\\')
    words = [_NAME]
    notes: tuple[str, ...] = ()
    if network is not None:
        room = Room(nics=len(network.nics), dns=2)
        cards = [_card(nic, network, room) for nic in network.nics]
        words.append("netdev.ip=" + (cards[0] if len(cards) == 1 else f"[ {' '.join(cards)} ]"))
        notes = left_out(network, room)
    if env:
        variables = " ".join(f'"{key}={value}"' for key, value in env)
        words.append(f"env.vars=[ {variables} ]")
    return Boot(_with_arguments(words, args), notes=notes)


def _card(nic: Nic, network: GuestNetwork, room: Room) -> str:
    address = ipv4_of(nic)
    dns = [*room.dns_of(network), "", ""][: room.dns]
    # What Docker calls the container may hold what a field cannot; nobody wrote it for this guest.
    names = [name if _FIELD.fullmatch(name) else "" for name in (network.hostname, network.search)]
    return ":".join([str(address), nic.gateway4 or "", *dns, *names])


def _boot_old(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args)
    refuse_env(env, "unikraft (older than 0.16)")
    words = [_NAME]
    if network is not None:
        nic = network.nics[0]
        address = ipv4_of(nic)
        words.append(f"netdev.ipv4_addr={address.ip}")
        words += [f"netdev.ipv4_gw_addr={nic.gateway4}"] if nic.gateway4 else []
        words.append(f"netdev.ipv4_subnet_mask={netmask_of(address)}")
    return Boot(_with_arguments(words, args), notes=left_out(network, Room()) if network else ())


def _with_arguments(words: list[str], args: str) -> str:
    return " ".join([*words, "--", args] if args else [*words, "--"])


UNIKRAFT = GuestKind(
    name="unikraft",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    most_cards=MANY_CARDS,
    console=(
        ConsolePattern(re.compile(_FRONT % b"CRIT" + _CRASH), panic),
        ConsolePattern(re.compile(_FRONT % b"Info" + rb"main returned (-?\d{1,9})"), exit_code),
    ),
)
UNIKRAFT_OLD = replace(UNIKRAFT, recognise=_recognise_old, markers=(_OLD_WORD,), boot=_boot_old, most_cards=1)
