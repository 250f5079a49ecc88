"""Unikraft, booted by multiboot, in its two syntaxes: since 0.16 and before.

Since 0.16 a card is one parameter `netdev.ip=ADDRESS/PREFIX:GATEWAY:DNS0:DNS1:HOST:DOMAIN`. Its fields may be empty,
but without the `/` the guest uses DHCP. Several cards are a list in brackets. Before 0.16 there were three parameters
for one card, and none for DNS. It needs a legacy (transitional) NIC. It always powers off at the end, and QEMU exits
with 0: only the console shows a crash. (unikraft: lib/uknetdev, lib/uklibparam, plat/kvm.)
"""

import re
from dataclasses import replace

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import (
    KERNEL_ARGS,
    mounted_shares,
    refuse_mounted_shares,
    refuse_mounts,
    room_left,
    too_long,
)
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import check_value, format_environment, refuse_environment
from supervisor.core.kinds.kind import (
    KERNEL,
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
from supervisor.core.kinds.network import GuestNetwork, Nic, Room, left_out, netmask_of, usable_nics
from supervisor.core.kinds.refusal import check_text, refused

_NAME = "vtapd"
"""The program's name, with which its command line begins. Any name will do."""
_MARKERS = (b"Powered by Unikraft", b"uk_inittab", b"libkvmplat", b"libukboot")
_OLD_WORD = b"ipv4_subnet_mask"
_ROOM_BYTES = 4095 - len(f"{KERNEL} ")
"""CONFIG_LIBUKBOOT_CMDLINE_MAX_LEN is 4096 by default (lib/ukboot/Config.uk). It includes the name that QEMU puts in
front, and the closing zero."""
_MOST_WORDS = 60 - 1
"""CONFIG_LIBUKBOOT_MAXNBARGS without the name that QEMU puts in front."""
_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_USUAL_VARIABLES = 8
"""CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT; more are dropped without a message."""
_USUAL_CARDS = 4
"""CONFIG_LIBUKNETDEV_EINFO_LIBPARAM_MAXCOUNT; a further card uses DHCP."""
_OWN_WORDS = ("netdev.ip", "env.vars=")
_MOUNTS = "vfs.fstab="
_READ_ONLY = "0x1"  # UK_FS_RDONLY, as MS_RDONLY
_FIELD = re.compile(r"[A-Za-z0-9.-]+")
# `[    0.195844] CRIT: [libkvmplat] <traps.c @   83> …`, where time and place depend on the build.
_FRONT = rb"^(?:\[ *\d+\.\d+\] )?%s: +(?:<[^>]*> )?\[\w+\] (?:<[^>]*> )?"


def _is_unikraft(image: Image) -> bool:
    return image.entry is Entry.MULTIBOOT and image.has(*_MARKERS)


def _recognise(image: Image) -> str | None:
    found = _is_unikraft(image) and not image.has(_OLD_WORD)
    return "a multiboot header and Unikraft's names" if found else None


def _recognise_old(image: Image) -> str | None:
    found = _is_unikraft(image) and image.has(_OLD_WORD)
    return "a multiboot header, Unikraft's names and its network parameters from before 0.16" if found else None


def _boot(request: BootRequest) -> Boot:
    words = [_NAME]
    notes: tuple[str, ...] = ()
    network = request.network
    if network is not None:
        room = Room(dns=2, hostname=_FIELD, domain=_FIELD, search=True)
        cards = [_card(nic, network, room) for nic in usable_nics(network, room)]
        words.append("netdev.ip=" + (cards[0] if len(cards) == 1 else f"[ {' '.join(cards)} ]"))
        notes = left_out(network, room)
    further = _system_words(request)
    words += _mount_words(request)
    frame = [_env_word(())] if request.env.variables else []
    line = _with_arguments([*words, *frame, *further], request.args)
    env = format_environment(request.env, _format_variable, room_left(request, line), _words_left(request, line))
    words += [_env_word(env.words)] if env.words else []
    if len(env.words) > _USUAL_VARIABLES:
        notes = (*notes, f"A Unikraft image takes {_USUAL_VARIABLES} variables, unless it was built for more.")
    return Boot(_with_arguments([*words, *further], request.args), notes=(*notes, *env.notes))


def _mount_words(request: BootRequest) -> list[str]:
    """Format `vfs.fstab=[ "DEVICE:WHERE:DRIVER:FLAGS:OPTIONS:OWN-OPTIONS" ]`: `mkmp` makes the mount point.

    (unikraft: lib/vfscore/automount.c)
    """
    shares = mounted_shares(request, " :\"'\\,")
    if not shares:
        return []
    if _MOUNTS in request.kernel_args:
        allowed = f"parameters other than {_MOUNTS}, which vtapd writes for mount= in {shares[0].label}"
        raise refused(KERNEL_ARGS, request.kernel_args, allowed)
    entries = (f'"{share.tag}:{share.where}:9pfs:{_READ_ONLY * share.read_only}::mkmp"' for share in shares)
    return [f"{_MOUNTS}[ {' '.join(entries)} ]"]


def _words_left(request: BootRequest, line: str) -> int:
    """Return how many arguments may follow. Raises Rejected that names the longer label if there are too many.

    Unikraft drops further ones without a message. Without the `--` it takes none as a parameter (lib/ukargparse).
    """
    left = _MOST_WORDS - len(_WORD.findall(line))
    if left < 0:
        raise too_long(request, f"{_MOST_WORDS} arguments", _MOST_WORDS - left)
    return left


def _format_variable(name: str, value: str) -> str:
    check_value(value, '"\\')
    if value.endswith("]"):
        raise ValueError("its value may not end with ], which would end the list")
    return f'"{name}={value}"'


def _env_word(variables: tuple[str, ...]) -> str:
    return f"env.vars=[ {' '.join(variables)} ]"


def _card(nic: Nic, network: GuestNetwork, room: Room) -> str:
    dns = [*room.dns_of(network), "", ""][: room.dns]
    names = [room.hostname_of(network), room.domain_of(network)]
    return ":".join([str(nic.ipv4), nic.gateway4 or "", *dns, *names])


def _boot_old(request: BootRequest) -> Boot:
    refuse_environment(request.env, "unikraft (older than 0.16)")
    refuse_mounted_shares(request, "Unikraft before 0.16 has no option for it that vtapd knows")
    words = [_NAME]
    network = request.network
    if network is not None:
        words += _old_network_words(network)
    line = _with_arguments([*words, *_system_words(request)], request.args)
    room_left(request, line)
    _words_left(request, line)
    return Boot(line, notes=left_out(network, Room()) if network else ())


def _old_network_words(network: GuestNetwork) -> list[str]:
    (nic,) = usable_nics(network, Room())
    assert nic.ipv4 is not None, "usable_nics leaves out all others"
    gateway = [f"netdev.ipv4_gw_addr={nic.gateway4}"] if nic.gateway4 else []
    return [f"netdev.ipv4_addr={nic.ipv4.ip}", *gateway, f"netdev.ipv4_subnet_mask={netmask_of(nic.ipv4)}"]


def _system_words(request: BootRequest) -> list[str]:
    """Return the parameters of Unikraft's libraries, which stand before `--`."""
    refuse_mounts(request, "Unikraft has no file system for a disk; give its files as vtapd.initrd, and in "
                  'vtapd.kernel-args vfs.fstab=[ "initrd0:/:extract::ramfs=1:" ]')  # fmt: skip
    check_text("vtapd.args", request.args)
    check_text(KERNEL_ARGS, request.kernel_args)
    if request.kernel_args.count('"') % 2:
        raise refused(KERNEL_ARGS, request.kernel_args, "text in which every quote is closed")
    words = request.kernel_args.replace('"', "").split()
    if "--" in words or any(word.startswith(_OWN_WORDS) for word in words):
        own = ", ".join(_OWN_WORDS)
        raise refused(
            KERNEL_ARGS, request.kernel_args, f"parameters other than -- and {own}, which vtapd writes itself"
        )
    return [request.kernel_args] if words else []


def _with_arguments(words: list[str], args: str) -> str:
    return " ".join([*words, "--", args] if args else [*words, "--"])


UNIKRAFT = GuestKind(
    name="unikraft",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    format_words=quoting.in_double_quotes,
    most_cards=_USUAL_CARDS,
    most_bytes=_ROOM_BYTES,
    shares=("9p",),
    console=(
        # Every critical message in its sources comes at or before the end: a trap, an assertion, an abort.
        ConsolePattern(re.compile(_FRONT % b"CRIT"), panic),
        ConsolePattern(re.compile(_FRONT % b"ERR" + rb"Init function at .* returned error"), panic),
        ConsolePattern(re.compile(_FRONT % b"Info" + rb"main returned (-?\d{1,9})"), exit_code),
    ),
    doc=KindDoc(
        recognised="a multiboot header and Unikraft's parameter names",
        network="`netdev.ip=` with DNS, host and domain; before 0.16 `netdev.ipv4_addr=` and others, for one card",
        environment="`env.vars=`; none before 0.16",
        share_mount="`vfs.fstab=`; not before 0.16",
        kernel_args="before ` -- ` on its command line",
        ends="power-off, and the console (`CRIT: …`) for a crash",
    ),
)
UNIKRAFT_OLD = replace(
    UNIKRAFT,
    recognise=_recognise_old,
    markers=(_OLD_WORD,),
    boot=_boot_old,
    most_cards=1,
    format_words=quoting.in_single_quotes,
)
