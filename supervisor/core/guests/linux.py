"""Linux, as a microVM of its own kernel and initramfs.

The network goes by the kernel's own `ip=` word (Documentation/admin-guide/nfs/nfsroot.rst). A kernel whose driver or
CONFIG_IP_PNP is a module leaves it to its initramfs, which reads the same. For what one such word has no room for there
are those of dracut and systemd (man 7 dracut.cmdline, man 8 systemd-network-generator): an `ip=` for each card, with
IPv6 in brackets, and `rd.route=`. A kernel that reads `ip=` itself believes the last, so the first card's IPv4 is last.
`panic=-1` makes a panic a reset.
Words with `=` that the kernel does not know become variables of its init (admin-guide/kernel-parameters.rst).
"""

import re

from supervisor.core.guests.bzimage import kernel_version
from supervisor.core.guests.entry import PVH_NOTE, Entry
from supervisor.core.guests.kind import MANY_CARDS, MANY_QUEUES, Boot, ConsolePattern, GuestKind, Image, Stop, panic
from supervisor.core.guests.network import GuestNetwork, Nic, Room, ipv4_of, left_out, netmask_of
from supervisor.core.guests.refusal import ENV_LABEL, Env, check_env, refused, refused_variable
from supervisor.core.model import Route

_MAX_ENV = 30
"""The kernel's init takes 32 with HOME and TERM (CONFIG_INIT_ENV_ARG_LIMIT), and panics at more."""
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
# `[    0.9] Kernel panic`, with the caller too where CONFIG_PRINTK_CALLER is set.
_PANIC = re.compile(rb"^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?Kernel panic - not syncing")
_BANNER = b"Linux version "  # init/version.c: linux_banner


def _recognise(image: Image) -> str | None:
    """A bzImage also by its version (`6.1.0 (…) #1 SMP …`): iPXE's .lkrn has Linux's boot header and is none.

    A vmlinux by its note (arch/x86/platform/pvh/head.S, CONFIG_PVH) and by its banner, which a bzImage has compressed.
    """
    if image.entry is Entry.LINUX:
        return "Linux's boot header and a version of Linux" if b" #" in kernel_version(image.head) else None
    noted = any(note.owner == b"Xen" and note.type == PVH_NOTE for note in image.notes)
    told = image.entry is Entry.PVH and noted and image.has(_BANNER)
    return "a PVH note and Linux's banner" if told else None


def _boot(args: str, network: GuestNetwork | None, env: Env) -> Boot:
    words = ["console=ttyS0", "panic=-1"]
    if network is not None:
        words += _ip(network)
    words += _env(env)
    if args:
        words.append(args)
    return Boot(" ".join(words), notes=left_out(network, _room(network)) if network and not network.dhcp else ())


def _room(network: GuestNetwork) -> Room:
    return Room(nics=len(network.nics), ipv6=True, dns=2, routes=True)


def _ip(network: GuestNetwork) -> list[str]:
    hostname = network.hostname if _HOSTNAME.fullmatch(network.hostname) else ""
    first, *others = network.nics
    if network.dhcp:
        return [f"ip=::::{hostname}:{first.name}:dhcp"]
    routes = [f"rd.route={_route(route)}:{nic.name}" for nic in network.nics for route in nic.routes if route.gateway]
    ipv6 = [_ipv6(nic, hostname) for nic in network.nics if nic.of_family(6)]
    servers = _room(network).dns_of(network)
    shown = [f"[{server}]" if ":" in server else server for server in servers]
    return [*routes, *ipv6, *(_ipv4(nic, hostname) for nic in others), ":".join([_ipv4(first, hostname), *shown])]


def _ipv4(nic: Nic, hostname: str) -> str:
    """`ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>`, then `:<dns0>:<dns1>`."""
    address = ipv4_of(nic)
    return f"ip={address.ip}::{nic.gateway4 or ''}:{netmask_of(address)}:{hostname}:{nic.name}:off"


def _ipv6(nic: Nic, hostname: str) -> str:
    address = nic.of_family(6)[0]
    gateway = f"[{nic.reachable_gateway6}]" if nic.reachable_gateway6 else ""
    return f"ip=[{address.ip}]::{gateway}:{address.prefix}:{hostname}:{nic.name}:off"


def _route(route: Route) -> str:
    """`<network>/<prefix>:<gateway>`."""
    if route.family == 6:
        return f"[{route.destination}/{route.prefix}]:[{route.gateway}]"
    return f"{route.destination}/{route.prefix}:{route.gateway}"


def _env(env: Env) -> list[str]:
    """Only names in capitals: no parameter of the kernel's is spelt so, and none can be set this way."""
    check_env(env, without='"')
    for key, _ in env:
        if key != key.upper():
            raise refused_variable(key, "for a linux guest a name in capitals")
    if len(env) > _MAX_ENV:
        raise refused(ENV_LABEL, "true", f"for a linux guest at most {_MAX_ENV} variables, not {len(env)}")
    return [f'{key}="{value}"' if " " in value else f"{key}={value}" for key, value in env]


LINUX = GuestKind(
    name="linux",
    recognise=_recognise,
    markers=(_BANNER,),
    boot=_boot,
    stop=Stop.POWERDOWN,
    most_cards=MANY_CARDS,
    takes_cards=True,
    most_queues=MANY_QUEUES,
    says_dhcp=True,
    console=(ConsolePattern(_PANIC, panic),),
)
