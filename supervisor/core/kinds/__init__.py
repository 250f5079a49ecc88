"""The kinds of guests. A new kind is a file in this folder and an entry in FORMS."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from supervisor.core.kinds.entry import Entry, Unbootable
from supervisor.core.kinds.hermit import HERMIT
from supervisor.core.kinds.kind import GuestKind, Image
from supervisor.core.kinds.linux import LINUX
from supervisor.core.kinds.mirage import MIRAGE
from supervisor.core.kinds.nanos import NANOS_DISK, NANOS_KERNEL
from supervisor.core.kinds.osv import OSV
from supervisor.core.kinds.raw import RAW, RAW_DISK
from supervisor.core.kinds.rumprun import RUMPRUN
from supervisor.core.kinds.unikraft import UNIKRAFT, UNIKRAFT_OLD
from supervisor.errors import Rejected, Step

FORMS: tuple[GuestKind, ...] = (
    LINUX, RUMPRUN, UNIKRAFT, UNIKRAFT_OLD, OSV, MIRAGE, NANOS_DISK, NANOS_KERNEL, HERMIT, RAW, RAW_DISK,
)  # fmt: skip
"""Every form of every kind. An image that matches no form of the kind asked for is treated as the first of them."""

KINDS: Mapping[str, GuestKind] = MappingProxyType(
    {form.name: next(first for first in FORMS if first.name == form.name) for form in FORMS}
)
"""By name, the first form of each kind: all forms of a kind exit and stop in the same way."""

MARKERS = frozenset(marker for form in FORMS for marker in form.markers)


class Choice(NamedTuple):
    """A kind, and why it was chosen, as text."""

    kind: GuestKind
    because: str


def require_bootable(image: Image | Unbootable, path: str) -> Image:
    """Return the image. Raises Rejected that says what it lacks if QEMU cannot boot it."""
    if isinstance(image, Unbootable):
        raise Rejected(f"{path!a} cannot be booted: {image.reason}", step=Step.KERNEL, remedy=image.remedy)
    return image


def choose_kind(asked: str, image: Image, path: str) -> Choice:
    """Return the kind asked for. For `auto`, return the kind that recognises the image; raw unless exactly one does.

    Raises Rejected if the image cannot be booted as that kind.
    """
    forms = [form for form in FORMS if form.machine.boots_disk == (image.entry is Entry.DISK)]
    return _recognise(forms, image) if asked == "auto" else _take(asked, forms, image, path)


def _take(asked: str, forms: list[GuestKind], image: Image, path: str) -> Choice:
    of_this_name = [form for form in forms if form.name == asked]
    if not of_this_name:
        raise Rejected(
            f"label vtapd.guest={asked} is refused: {path!a} is a disk, and such a guest is booted from a kernel",
            step=Step.KERNEL,
            remedy="name the kernel in label vtapd.kernel, or leave out vtapd.guest",
        )
    recognising = (form for form in of_this_name if form.recognise(image))
    return Choice(next(recognising, of_this_name[0]), "label vtapd.guest says so")


def _recognise(forms: list[GuestKind], image: Image) -> Choice:
    *known, raw = forms
    found = [(form, because) for form in known if (because := form.recognise(image))]
    if len(found) == 1:
        form, because = found[0]
        return Choice(form, f"the image has {because}")
    if not found:
        return Choice(raw, f"{raw.recognise(image)}, with no sign of a kind that vtapd knows")
    signs = " and ".join(f"{because} ({form.name})" for form, because in found)
    return Choice(raw, f"the image is in doubt: it has {signs}; label vtapd.guest can say which it is")
