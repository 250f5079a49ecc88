"""Linux, as a microVM of its own kernel and initramfs.

The network goes by the kernel's own `ip=` words (Documentation/admin-guide/nfs/nfsroot.rst). A kernel whose driver or
CONFIG_IP_PNP is a module leaves them to its initramfs, which reads the same words. `panic=-1` makes a panic a reset.
"""

import re

from supervisor.core.guests.kind import Boot, ConsolePattern, GuestKind, GuestNetwork, Stop, Verdict
from supervisor.core.guests.multiboot import has_linux_header

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")


def _boot(args: str, network: GuestNetwork | None) -> Boot:
    words = ["console=ttyS0", "panic=-1"]
    if network is not None:
        words.append(_ip(network))
    if args:
        words.append(args)
    return Boot(command_line=" ".join(words))


def _ip(network: GuestNetwork) -> str:
    """`ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>`."""
    hostname = network.hostname if _HOSTNAME.fullmatch(network.hostname) else ""
    gateway = network.gateway or ""
    return f"ip={network.address.ip}::{gateway}:{network.netmask}:{hostname}:eth0:off"


LINUX = GuestKind(
    name="linux",
    recognise=lambda image: has_linux_header(image.head),
    boot=_boot,
    stop=Stop.POWERDOWN,
    takes_cards=True,
    console=(ConsolePattern(re.compile(rb"Kernel panic - not syncing"), lambda _match: Verdict("guest-panic")),),
)
