"""Rumprun: NetBSD's drivers under one program, booted by multiboot.

It is configured by a JSON text in multiboot module 0, which has priority over the command line and is passed unchanged.
Its parser knows no escapes, so a value with a quote, a backslash or a control character cannot be passed. It needs a
legacy (transitional) virtio NIC. When the program returns, exits or traps, the guest only halts: QEMU runs on, and only
the console shows it. With a VGA card the console is on its screen, and the serial port stays silent.
(rumprun: lib/librumprun_base/config.c, lib/libbmk_core, platform/hw/arch/x86/cons.c.)
"""

import ipaddress
import json
import re
from dataclasses import replace

from supervisor.core.kinds import quoting
from supervisor.core.kinds.checks import KERNEL_ARGS, check_mount, room_left
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
    exit_code,
    panic,
)
from supervisor.core.kinds.network import GuestNetwork, Nic, Room, left_out, usable_nics
from supervisor.core.kinds.refusal import check_text, refused
from supervisor.core.links import Address

MAX_CONFIG_BYTES = 4094
"""It halts at a module of BMK_MULTIBOOT_CMDLINE_SIZE - 1 bytes or more (platform/hw/multiboot.c)."""
_FORBIDDEN = '"\\'
_HOSTNAME = re.compile(r"[^\"\\]{1,255}")
_DNS_VARIABLE = "DNS_RESOLVER"
_PROGRAM = "guest"
"""What its program gets as argv[0] if `vtapd.args` does not say it."""
_OWN_MEMBERS = {"cmdline", "env", "hostname", "net"}
_MARKERS = (b"rumprun", b"rumpuser")


def _recognise(image: Image) -> str | None:
    found = image.entry is Entry.MULTIBOOT and image.has(*_MARKERS)
    return "a multiboot header and rumprun's names" if found else None


def _boot(request: BootRequest) -> Boot:
    check_text("vtapd.args", request.args, _FORBIDDEN)
    network = request.network
    # rumprun needs a command line, which begins with argv[0]. A key may repeat, so this is no dict.
    members = [_member("cmdline", f'"{request.args}"' if request.args.strip() else f'"{_PROGRAM}"')]
    notes: list[str] = []
    given: GuestNetwork | None = None
    if network is not None:
        network = given = _carried(network)
        room = Room(ipv6=True, dns=1, hostname=_HOSTNAME)
        members += [_member("hostname", f'"{room.hostname_of(network)}"')] if room.hostname_of(network) else []
        members += _dns(request, room)
        members += [_member("net", net) for nic in usable_nics(network, room) for net in _nets(nic, network.dhcp)]
        notes += left_out(network, room)
    members += [_member("blk", _blk(mount)) for mount in request.mounts]
    members += _further_members(request)
    left = room_left(request, "{" + ", ".join(members) + "}")
    env = format_environment(request.env, _format_variable, left)
    config = "{" + ", ".join([*members, *env.words]) + "}"
    return Boot(modules=(config.encode(),), notes=(*notes, *env.notes), network=given)


def _carried(network: GuestNetwork) -> GuestNetwork:
    """Return what of the network does not keep it from booting.

    It ends at an IPv6 prefix that is no multiple of 8, and at a second default route of one family
    (buildrump.sh: brlib/libnetconfig/netconfig.c).
    """
    nics = [_with_whole_prefixes(nic) for nic in network.nics]
    for family in (4, 6):
        others = [nic for nic in nics if nic.gateway(family)][1:]
        nics = [_without_gateway(nic, family) if nic in others else nic for nic in nics]
    return replace(network, nics=tuple(nics))


def _with_whole_prefixes(nic: Nic) -> Nic:
    odd = [address for address in nic.addresses if address.family == 6 and address.prefix % 8]
    notes = (f"address {each} of {nic.container_name}: its prefix is no multiple of 8" for each in odd)
    kept = tuple(address for address in nic.addresses if address not in odd)
    nic = replace(nic, addresses=kept, withheld=(*nic.withheld, *notes))
    if nic.gateway6 and ipaddress.ip_address(nic.gateway6).is_link_local:
        note = f"gateway {nic.gateway6} of {nic.container_name}: its configuration has no field for a gateway's link"
        nic = replace(nic, gateway6=None, withheld=(*nic.withheld, note))
    return nic if nic.ipv6 else replace(nic, gateway6=None)


def _without_gateway(nic: Nic, family: int) -> Nic:
    note = f"gateway {nic.gateway(family)} of {nic.container_name}: it takes one of each family"
    nic = replace(nic, withheld=(*nic.withheld, note))
    return replace(nic, gateway4=None) if family == 4 else replace(nic, gateway6=None)


def _member(key: str, value: str) -> str:
    return f'"{key}": {value}'


def _format_variable(name: str, value: str) -> str:
    check_value(value, _FORBIDDEN)
    return _member("env", f'"{name}={value}"')


def _dns(request: BootRequest, room: Room) -> list[str]:
    """Return the variable from which rumprun's resolver reads its server, unless the user sets it."""
    if (
        request.network is None
        or request.network.dhcp
        or any(name == _DNS_VARIABLE and not set(value) & set(_FORBIDDEN) for name, value in request.env.variables)
    ):
        return []
    return [_member("env", f'"{_DNS_VARIABLE}={server}"') for server in room.dns_of(request.network)]


def _blk(mount: Mount) -> str:
    check_mount(mount, _FORBIDDEN)
    fields = {"source": "dev", "path": f"/dev/ld{mount.position}a", "fstype": "blk", "mountpoint": mount.where}
    return json.dumps(fields, ensure_ascii=False)


def _further_members(request: BootRequest) -> list[str]:
    """Return what `vtapd.kernel-args` adds to the JSON, unchanged.

    rumprun takes a key for a member that begins with it (T_STREQ in config.c), so `"c"` would be a second command line.
    """
    text = request.kernel_args.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    check_text(KERNEL_ARGS, text, "\\")
    own = _OWN_MEMBERS | ({"blk"} if request.mounts else set())
    try:
        members: list[tuple[str, object]] = json.loads("{" + text + "}", object_pairs_hook=list)
    except (ValueError, RecursionError):
        example = '"blk": {"source": "etfs", "path": "sda1"}'
        raise refused(KERNEL_ARGS, text, f"further members of rumprun's JSON, such as {example}") from None
    for key, _ in members:
        if any(member.startswith(key) for member in own):
            raise refused(KERNEL_ARGS, text, f"members other than {', '.join(sorted(own))}, which vtapd writes itself")
    return [text] if members else []


def _nets(nic: Nic, dhcp: bool) -> list[str]:
    if dhcp:
        return [f'{{"if": "vioif{nic.index}", "type": "inet", "method": "dhcp"}}']
    nets = [_net(nic, "inet", nic.ipv4, nic.gateway4)] if nic.ipv4 else []
    return nets + ([_net(nic, "inet6", nic.ipv6, nic.gateway6)] if nic.ipv6 else [])


def _net(nic: Nic, family: str, address: Address, gateway: str | None) -> str:
    fields = {"if": f"vioif{nic.index}", "type": family, "method": "static", "addr": address.ip}
    fields["mask"] = str(address.prefix)  # a prefix length, as a text
    if gateway:
        fields["gw"] = gateway
    return "{" + ", ".join(f'"{key}": "{value}"' for key, value in fields.items()) + "}"


RUMPRUN = GuestKind(
    name="rumprun",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    format_words=lambda words: quoting.in_single_quotes((_PROGRAM, *words)),
    most_bytes=MAX_CONFIG_BYTES,
    uses_screen=True,
    most_cards=MANY_CARDS,
    ip_versions=(4, 6),
    takes_dhcp=True,
    console=(
        ConsolePattern(re.compile(rb'^=== main\(\) of ".*" returned (-?\d{1,9}) ===$'), exit_code),
        ConsolePattern(re.compile(rb"^=== (?:ERROR: )?_exit\((-?\d{1,9})\) called ===$"), exit_code),
        # A halt with a reason: an assertion, a panic of NetBSD's kernel, too little memory (platform/hw/kernel.c).
        ConsolePattern(re.compile(rb"^PANIC: "), panic),
        # It does not begin a new line, so it may follow what the program printed last.
        ConsolePattern(re.compile(rb"_lwpabort\(\) called$"), panic),
        ConsolePattern(re.compile(rb"^FATAL TRAP: "), panic, final=True),
        ConsolePattern(re.compile(rb"^=== bootstrap failed"), panic),
        ConsolePattern(re.compile(rb"^halted$"), final=True),
    ),
    doc=KindDoc(
        recognised="a multiboot header and rumprun's symbol names",
        network="JSON in multiboot module 0, IPv4 and IPv6",
        environment='`"env"` of its JSON, with `DNS_RESOLVER` unless it is set',
        kernel_args="further members of its JSON",
        ends="the console (`halted`, `_exit(N) called` and others), a triple fault, ACPI",
    ),
)
