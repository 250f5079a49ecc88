"""Rumprun: NetBSD's drivers under one program, booted by multiboot.

It is configured by a JSON text in multiboot module 0, which wins over the command line and arrives byte for byte. Its
parser undoes no escapes, so a value with a quote, a backslash or a control character cannot be said at all. It wants
a legacy (transitional) virtio NIC. A program that returns, exits or traps only halts: QEMU lives on and the console
alone tells. (rumprun: lib/librumprun_base/config.c, lib/libbmk_core.)
"""

import re

from supervisor.core.guests.kind import MANY_CARDS, Boot, ConsolePattern, GuestKind, Image, Stop, exit_code, panic
from supervisor.core.guests.multiboot import has_multiboot_header
from supervisor.core.guests.network import GuestNetwork, Nic, Room, ipv4_of, left_out
from supervisor.core.guests.refusal import ENV_LABEL, Env, check_env, check_text, refused

MAX_CONFIG_BYTES = 4095
_UNSAYABLE = '"\\'
_MARKERS = (b"rumprun", b"rumpuser")


def _recognise(image: Image) -> str | None:
    told = has_multiboot_header(image.head) and image.has(*_MARKERS)
    return "a multiboot header and rumprun's names" if told else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    check_text("vtapd.args", args, _UNSAYABLE)
    check_env(env, _UNSAYABLE)
    if not args.strip():
        args = "guest"  # argv[0]; rumprun wants a command line
    # A key may repeat, so this is no dict.
    members = [("cmdline", f'"{args}"'), *(("env", f'"{key}={value}"') for key, value in env)]
    nics, dhcp = (network.nics, network.dhcp) if network else ((), False)
    members += [("net", net) for nic in nics for net in _nets(nic, dhcp)]
    config = ("{" + ", ".join(f'"{key}": {value}' for key, value in members) + "}").encode()
    if len(config) > MAX_CONFIG_BYTES:
        said = f"at most {MAX_CONFIG_BYTES} bytes of configuration; this would be {len(config)}"
        raise refused(ENV_LABEL, "true", said) if env else refused("vtapd.args", args, said)
    notes = left_out(network, Room(nics=len(nics), ipv6=True)) if network and not dhcp else ()
    return Boot(modules=(config,), notes=notes)


def _nets(nic: Nic, dhcp: bool) -> list[str]:
    if dhcp:
        return [f'{{"if": "vioif{nic.index}", "type": "inet", "method": "dhcp"}}']
    address = ipv4_of(nic)
    nets = [_net(nic, "inet", address.ip, address.prefix, nic.gateway4)]
    nets += [_net(nic, "inet6", each.ip, each.prefix, nic.reachable_gateway6) for each in nic.of_family(6)[:1]]
    return nets


def _net(nic: Nic, family: str, ip: str, prefix: int, gateway: str | None) -> str:
    fields = {"if": f"vioif{nic.index}", "type": family, "method": "static", "addr": ip, "mask": str(prefix)}
    if gateway:
        fields["gw"] = gateway
    return "{" + ", ".join(f'"{key}": "{value}"' for key, value in fields.items()) + "}"


RUMPRUN = GuestKind(
    name="rumprun",
    recognise=_recognise,
    markers=_MARKERS,
    boot=_boot,
    stop=Stop.QUIT,
    most_cards=MANY_CARDS,
    ip_versions=(4, 6),
    says_dhcp=True,
    console=(
        ConsolePattern(re.compile(rb'^=== main\(\) of ".*" returned (-?\d{1,9}) ===$'), exit_code),
        ConsolePattern(re.compile(rb"^=== (?:ERROR: )?_exit\((-?\d{1,9})\) called ===$"), exit_code),
        # It starts no line of its own, so it may stand behind what the program printed last.
        ConsolePattern(re.compile(rb"_lwpabort\(\) called$"), panic),
        ConsolePattern(re.compile(rb"^FATAL TRAP: "), panic, final=True),
        ConsolePattern(re.compile(rb"^=== bootstrap failed"), panic),
        ConsolePattern(re.compile(rb"^halted$"), final=True),
    ),
)
