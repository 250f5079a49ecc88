"""OSv: one Linux program with its own kernel. Options stand before the program's path on the command line.

After a clean exit it powers off, and QEMU exits with 0. After an option that OSv does not know it does the same. After
a crash QEMU runs on: the console shows a backtrace, and pvpanic informs QEMU if the build has its driver. The power
button shuts it down.
(osv: loader.cc, runtime.cc, core/app.cc, core/options.cc, drivers/acpi.cc.)
"""

import re

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import KERNEL_ARGS, check_mount, mounted_shares, room_left
from supervisor.core.kinds.entry import Entry
from supervisor.core.kinds.environment import check_value, format_environment
from supervisor.core.kinds.kind import (
    MANY_CARDS,
    Boot,
    BootRequest,
    ConsolePattern,
    GuestKind,
    Image,
    KindDoc,
    Mount,
    Stop,
    Verdict,
    exit_code,
    panic,
)
from supervisor.core.kinds.network import GuestNetwork, Room, left_out, netmask_of, usable_nics
from supervisor.core.kinds.refusal import check_text, refused

_MARKERS = (b"power-off-on-abort", b"_ZN3osv")
_WRONG_OPTION = (
    rb"^(?:unrecognized option|not an option|duplicate option): |^the required argument for option '--.*' is missing$"
)
_ROOM = Room(dns=1)
_OWN_OPTIONS = ("--ip", "--defaultgw", "--nameserver", "--env")


def _recognise(image: Image) -> str | None:
    """Recognise loader.elf (PVH note), vmlinuz.bin (Linux's boot header) and loader-stripped.elf (options only)."""
    found = image.entry is not Entry.DISK and image.has(*_MARKERS)
    return f"{image.entry.value} and OSv's options or symbols" if found else None


def _boot(request: BootRequest) -> Boot:
    check_text("vtapd.args", request.args)
    network = request.network
    words = _network_words(network, _ROOM) if network else []
    words += [f"--mount-fs={_mount(mount)}" for mount in request.mounts]
    words += [
        f"--mount-fs=virtiofs,/dev/virtiofs{share.position},{share.where}"
        for share in mounted_shares(request, " ,\"'\\")
    ]
    words += _options(request.kernel_args)
    program = [request.args] if request.args else []
    env = format_environment(request.env, _format_variable, room_left(request, " ".join([*words, *program])))
    notes = (*(left_out(network, _ROOM) if network else ()), *env.notes)
    return Boot(" ".join([*words, *env.words, *program]), notes=notes)


def _format_variable(name: str, value: str) -> str:
    check_value(value, " \"'\\")
    return f"--env={name}={value}"


def _mount(mount: Mount) -> str:
    check_mount(mount, " ,\"'\\")
    if mount.file_system is None:
        raise refused(mount.label, mount.value, "a disk that has an ext or rofs file system and no partition table")
    return f"{mount.file_system},/dev/vblk{mount.position},{mount.where}"


def _options(text: str) -> list[str]:
    """Return the options of `vtapd.kernel-args`. OSv takes the first argument that is no option for the program."""
    check_text(KERNEL_ARGS, text)
    words = text.split()
    if not all(word.startswith("--") for word in words):
        raise refused(KERNEL_ARGS, text, "OSv's own options, each beginning with --")
    if any(word.partition("=")[0] in _OWN_OPTIONS for word in words):
        own = ", ".join(_OWN_OPTIONS)
        raise refused(KERNEL_ARGS, text, f"options other than {own}, which vtapd writes itself")
    return words


def _network_words(network: GuestNetwork, room: Room) -> list[str]:
    words = []
    cards = usable_nics(network, room)
    for nic in cards:
        assert nic.ipv4 is not None, "usable_nics leaves out all others"
        words.append(f"--ip={nic.name},{nic.ipv4.ip},{netmask_of(nic.ipv4)}")
    gateway = next((nic.gateway4 for nic in cards if nic.gateway4), None)
    words += [f"--defaultgw={gateway}"] if gateway else []
    return words + [f"--nameserver={server}" for server in room.dns_of(network)]


OSV = GuestKind(
    name="osv",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.POWERDOWN,
    format_words=quoting.for_osv,
    most_cards=MANY_CARDS,
    shares=("virtiofs",),
    console=(
        ConsolePattern(re.compile(rb"^program .* returned (-?\d{1,9})$"), exit_code),  # printed only with --verbose
        ConsolePattern(re.compile(_WRONG_OPTION), lambda _match: Verdict("guest-exit", 1)),
        ConsolePattern(re.compile(rb"^\[backtrace\]$"), panic, final=True, last_words_s=0.5),
    ),
    doc=KindDoc(
        recognised="OSv's options or symbol names",
        network="`--ip=`, `--defaultgw=`, `--nameserver=`",
        environment="`--env=`",
        share_mount="`--mount-fs=virtiofs,…`",
        kernel_args="its options; with `--verbose` it reports its program's exit code",
        ends="power-off, pvpanic, and the console (`[backtrace]`)",
    ),
)
