"""Linux, as a microVM of its own kernel and initramfs.

The network is passed by the kernel's option `ip=` (Documentation/admin-guide/nfs/nfsroot.rst). If the network driver or
CONFIG_IP_PNP is a module, the initramfs reads the option instead. What one such option cannot hold is passed by those
of dracut and systemd (man 7 dracut.cmdline, man 8 systemd-network-generator): an `ip=` for each card, with IPv6 in
brackets, and `rd.route=`. A kernel that reads `ip=` itself uses the last one, so the first card's IPv4 is last.
`panic=-1` makes a panic a reset.
Which shares are mounted where is passed to its init by `vtapd.share=TAG:WHERE`. The kernel ignores an option with a dot
in its name whose first part is no module (admin-guide/kernel-parameters.rst).
Options with `=` that the kernel does not know become variables of its init (admin-guide/kernel-parameters.rst).
"""

import re
from dataclasses import replace

from supervisor.core.kinds import quoting
from supervisor.core.kinds.bzimage import kernel_version
from supervisor.core.kinds.checks import mounted_shares, refuse_mounts, room_left
from supervisor.core.kinds.entry import PVH_NOTE, Entry
from supervisor.core.kinds.environment import check_value, format_environment
from supervisor.core.kinds.kind import (
    LINUX_ROOM_BYTES,
    MANY_CARDS,
    MANY_QUEUES,
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
from supervisor.core.links import Address, Route

_MAX_ENV = 30
"""The kernel allows 32 for its init, including HOME and TERM (CONFIG_INIT_ENV_ARG_LIMIT), and panics at more."""
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
# `[    0.9] Kernel panic`, also with the caller, if CONFIG_PRINTK_CALLER is set.
_PANIC = re.compile(rb"^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?Kernel panic - not syncing")
_EXIT = re.compile(rb"^vtapd-init: exit (\d{1,3})$")  # the last line of init/guest.c
_BANNER = b"Linux version "  # init/version.c: linux_banner


def _recognise(image: Image) -> str | None:
    """Recognise a bzImage by header and version (`6.1.0 (…) #1 SMP …`): iPXE's .lkrn has only the header.

    Recognise a vmlinux by its note (arch/x86/platform/pvh/head.S, CONFIG_PVH) and its banner. In a bzImage the banner
    is compressed.
    """
    if image.entry is Entry.LINUX:
        return "Linux's boot header and a version of Linux" if b" #" in kernel_version(image.head) else None
    noted = any(note.owner == b"Xen" and note.type == PVH_NOTE for note in image.notes)
    found = image.entry is Entry.PVH and noted and image.has(_BANNER)
    return "a PVH note and Linux's banner" if found else None


def _boot(request: BootRequest) -> Boot:
    refuse_mounts(request, "the init of a linux guest decides what it mounts")
    network = request.network
    words = ["console=ttyS0", "panic=-1", *(_ip(network) if network else ())]
    words += [f"vtapd.share={share.tag}:{share.where}" for share in mounted_shares(request, ' "')]
    behind = [each for each in (request.kernel_args, request.args) if each]
    left = room_left(request, " ".join([*words, *behind]))
    env = format_environment(request.env, _format_variable, left, _MAX_ENV)
    notes = (*(left_out(network, _room(network)) if network else ()), *env.notes)
    return Boot(" ".join([*words, *env.words, *behind]), notes=notes)


def _room(network: GuestNetwork) -> Room:
    """Return what its options can carry. A domain name can only follow a host name that has no dot."""
    room = Room(ipv6=True, dns=2, routes=True, hostname=_HOSTNAME)
    hostname = room.hostname_of(network)
    return replace(room, domain=_HOSTNAME) if hostname and "." not in hostname else room


def _ip(network: GuestNetwork) -> list[str]:
    hostname = _full_name(network)
    if network.dhcp:
        return [f"ip=::::{hostname}:{network.nics[0].name}:dhcp"]
    cards = usable_nics(network, _room(network))
    routes = [f"rd.route={_route(route)}:{nic.name}" for nic in cards for route in nic.routes if route.gateway]
    ipv6 = [_ipv6(nic, nic.ipv6, hostname) for nic in cards if nic.ipv6]
    ipv4 = [_ipv4(nic, nic.ipv4, hostname) for nic in cards if nic.ipv4]
    servers = _room(network).dns_of(network)
    shown = [f"[{server}]" if ":" in server else server for server in servers]
    *others, last = [*ipv6, *ipv4[1:], *ipv4[:1]]
    return [*routes, *others, ":".join([last, *shown])]


def _ipv4(nic: Nic, address: Address, hostname: str) -> str:
    """Format `ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>`, then `:<dns0>:<dns1>`."""
    return f"ip={address.ip}::{nic.gateway4 or ''}:{netmask_of(address)}:{hostname}:{nic.name}:off"


def _ipv6(nic: Nic, address: Address, hostname: str) -> str:
    gateway = f"[{nic.gateway6}]" if nic.gateway6 else ""
    return f"ip=[{address.ip}]::{gateway}:{address.prefix}:{hostname}:{nic.name}:off"


def _route(route: Route) -> str:
    """Format `<network>/<prefix>:<gateway>`."""
    if route.family == 6:
        return f"[{route.destination}/{route.prefix}]:[{route.gateway}]"
    return f"{route.destination}/{route.prefix}:{route.gateway}"


def _full_name(network: GuestNetwork) -> str:
    """Return the host name. The kernel takes the part after the first dot as its domain name (net/ipv4/ipconfig.c)."""
    room = _room(network)
    return ".".join(filter(None, (room.hostname_of(network), room.domain_of(network))))


def _format_variable(name: str, value: str) -> str:
    """Format a variable whose name is in capitals: no kernel parameter has such a name, so none can be set."""
    check_value(value, '"')
    if name != name.upper():
        raise ValueError("for a linux guest its name must be in capitals")
    return f'{name}="{value}"' if " " in value else f"{name}={value}"


LINUX = GuestKind(
    name="linux",
    recognise=_recognise,
    markers=(_BANNER,),
    boot=_boot,
    stop=Stop.POWERDOWN,
    format_words=quoting.for_linux,
    most_cards=MANY_CARDS,
    ip_versions=(4, 6),
    most_bytes=LINUX_ROOM_BYTES,
    takes_cards=True,
    most_queues=MANY_QUEUES,
    takes_dhcp=True,
    shares=("virtiofs", "9p"),
    console=(ConsolePattern(_PANIC, panic), ConsolePattern(_EXIT, exit_code)),
    doc=KindDoc(
        recognised="the version in a bzImage, or a PVH note in a vmlinux",
        network="`ip=`; for further cards, IPv6 and routes the options of dracut and systemd (`rd.route=`)",
        environment="that of init, for names in capitals",
        share_mount="`vtapd.share=`*tag*`:`*where*, for a program of the initramfs",
        kernel_args="on the same line as `vtapd.args`",
        ends="power-off, reset, and the console: for a panic (`panic=-1` makes it a reset), and for the exit code of a "
        "container image's command",
    ),
)
