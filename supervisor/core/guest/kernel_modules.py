"""Which of a kernel's modules a guest from a container image loads, and in which order.

A distribution's kernel has the drivers of virtio as modules. Each module says in its section .modinfo which others it
needs, so that this works without modules.dep, which exists only where the kernel is installed.
"""

import posixpath
import re
from collections.abc import Callable, Collection

from supervisor.errors import Rejected, Step

NEEDED = ("virtio_pci", "virtio_blk", "ext4", "virtio_net")
WANTED = ("crc32c_generic", "overlay", "button", "evdev", "pvpanic_pci", "pvpanic_mmio", "af_packet")
"""Loaded if the kernel has them: for ext4's checksums, a read-only disk, `docker stop`, panics, and DHCP clients."""
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_MODULE_FILE = re.compile(r"(.+)\.ko(?:\.xz|\.zst|\.gz)?")


def module_name(path: str) -> str | None:
    """Return the name of the module in this file, or None if it is no module. The kernel reads `-` as `_`."""
    match = _MODULE_FILE.fullmatch(posixpath.basename(path))
    return match[1].replace("-", "_") if match else None


def parse_builtin(text: str) -> frozenset[str]:
    """Return the modules that are part of the kernel, from its modules.builtin."""
    return frozenset(name for name in map(module_name, text.split()) if name)


def modules_in_order(
    version: str, names: Collection[str], builtin: Collection[str], read: Callable[[str], bytes]
) -> dict[str, bytes]:
    """Return the content of the modules to load, by name, each after those that it needs.

    `names` are those that can be read by `read`. Raises Rejected if the kernel lacks one that is needed.
    """
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name in builtin:
            return
        if name not in names:
            raise _missing(version, name)
        content = read(name)
        match = _DEPENDS.search(content)
        for need in match[1].decode("ascii", "replace").split(",") if match else ():
            if need:
                add(need.replace("-", "_"))
        ordered[name] = content

    for name in (*(each for each in WANTED[:1] if each in names), *NEEDED, *(each for each in WANTED if each in names)):
        add(name)
    return ordered


def _missing(version: str, name: str) -> Rejected:
    return Rejected(
        f"kernel {version} cannot boot from a root disk: it has no module {name}",
        step=Step.KERNEL,
        remedy="use a distribution's standard kernel or one for virtual machines, or give its own --initrd",
    )
