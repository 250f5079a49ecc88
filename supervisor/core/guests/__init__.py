"""The kinds of guests. A new one is a file here and a line in KINDS, tried in this order by `vtapd.guest=auto`."""

from collections.abc import Mapping
from types import MappingProxyType

from supervisor.core.guests.kind import GuestKind, Image
from supervisor.core.guests.linux import LINUX
from supervisor.core.guests.multiboot import is_bootable
from supervisor.core.guests.raw import RAW
from supervisor.core.guests.rumprun import RUMPRUN
from supervisor.errors import Rejected

KINDS: Mapping[str, GuestKind] = MappingProxyType({kind.name: kind for kind in (LINUX, RUMPRUN, RAW)})

MARKERS = frozenset(marker for kind in KINDS.values() for marker in kind.markers)


def choose_kind(asked: str, image: Image, path: str) -> GuestKind:
    """The kind that was asked for, or for `auto` the first that recognises the image.

    Raises Rejected when QEMU could not boot the image at all.
    """
    if not is_bootable(image.head):
        raise Rejected(
            f"{path!a} is no kernel: neither a multiboot image nor a Linux bzImage nor an ELF file",
            step="kernel",
            remedy="name a bootable image in label vtapd.kernel",
        )
    if asked != "auto":
        return KINDS[asked]
    return next(kind for kind in KINDS.values() if kind.recognise(image))
