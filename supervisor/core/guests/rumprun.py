"""Rumprun: NetBSD's drivers under one program, booted by multiboot.

It is configured by a JSON text in multiboot module 0, which wins over the command line and arrives byte for byte. Its
parser undoes no escapes, so a value with a quote, a backslash or a control character cannot be said at all. It wants
a legacy (transitional) virtio NIC. A program that returns, exits or traps only halts: QEMU lives on and the console
alone tells. (rumprun: lib/librumprun_base/config.c, lib/libbmk_core.)
"""

import re

from supervisor.core.guests.kind import Boot, ConsolePattern, GuestKind, GuestNetwork, Stop, Verdict
from supervisor.core.guests.multiboot import has_multiboot_header

MAX_CONFIG_BYTES = 4095
_UNSAYABLE = re.compile(r'["\\\x00-\x1f\x7f]')


def _boot(args: str, network: GuestNetwork | None) -> Boot:
    if not args.strip():
        args = "guest"  # argv[0]; rumprun wants a command line
    members = [f'"cmdline": {_quoted(args)}']
    if network is not None:
        members.append(f'"net": {_net(network)}')
    config = f"{{{', '.join(members)}}}".encode()
    if len(config) > MAX_CONFIG_BYTES:
        raise ValueError(f"at most {MAX_CONFIG_BYTES} bytes of configuration; this would be {len(config)}")
    return Boot(modules=(config,))


def _net(network: GuestNetwork) -> str:
    fields = {
        "if": "vioif0",
        "type": "inet",
        "method": "static",
        "addr": network.address.ip,
        "mask": str(network.address.prefix),
    }
    if network.gateway:
        fields["gw"] = network.gateway
    return "{" + ", ".join(f'"{key}": {_quoted(value)}' for key, value in fields.items()) + "}"


def _quoted(value: str) -> str:
    if _UNSAYABLE.search(value):
        raise ValueError("no quote, no backslash and no control character, since its parser undoes no escapes")
    return f'"{value}"'


def _exit_code(match: re.Match[bytes]) -> Verdict:
    return Verdict("guest-exit", int(match[1]))


def _panic(_match: re.Match[bytes]) -> Verdict:
    return Verdict("guest-panic")


RUMPRUN = GuestKind(
    name="rumprun",
    recognise=lambda image: has_multiboot_header(image.head) and bool(image.markers & {b"rumprun", b"rumpuser"}),
    markers=(b"rumprun", b"rumpuser"),
    boot=_boot,
    stop=Stop.QUIT,
    console=(
        ConsolePattern(re.compile(rb'=== main\(\) of ".*" returned (-?\d{1,9}) ==='), _exit_code),
        ConsolePattern(re.compile(rb"=== (?:ERROR: )?_exit\((-?\d{1,9})\) called ==="), _exit_code),
        ConsolePattern(re.compile(rb"_lwpabort\(\) called"), _panic),
        ConsolePattern(re.compile(rb"^FATAL TRAP: "), _panic, final=True),
        ConsolePattern(re.compile(rb"^=== bootstrap failed"), _panic),
        ConsolePattern(re.compile(rb"^halted$"), final=True),
    ),
)
