"""A guest is refused for which its container has too little memory or too few threads."""

import pytest

from supervisor.core.guest.needs import check_memory, check_threads
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.kind import Image
from supervisor.core.units import MIB
from supervisor.errors import Rejected

from . import images
from .examples import container, labelled

SPEC = GuestSpec(kernel="/k", memory_mib=4)


@pytest.mark.parametrize("least_bytes", [0, 4 * MIB])
def test_memory_that_is_enough(least_bytes: int) -> None:
    check_memory(container(), SPEC, least_bytes)


def test_memory_that_is_too_little() -> None:
    with pytest.raises(Rejected, match=r"label vtapd\.memory='4M' is refused; allowed is 5M or more: the kernel takes"):
        check_memory(labelled(memory="4M"), SPEC, 4 * MIB + 1)
    with pytest.raises(Rejected, match="would have 4M of memory, and the kernel and its initrd take 5M"):
        check_memory(container(), GuestSpec(kernel="/k", memory_mib=4, initrd="/i"), 5 * MIB)


@pytest.mark.parametrize(("limit", "cpus", "has_disks"), [(None, 64, True), (5, 1, False), (7, 2, True)])
def test_threads_that_are_enough(limit: int | None, cpus: int, has_disks: bool) -> None:
    check_threads(limit, cpus, has_disks=has_disks)


def test_servers_of_shares_have_threads_too() -> None:
    check_threads(13, 1, has_disks=False, servers=2)
    with pytest.raises(Rejected, match="--pids-limit 13"):
        check_threads(12, 1, has_disks=False, servers=2)


@pytest.mark.parametrize(
    ("limit", "cpus", "has_disks", "remedy"), [(4, 1, False, "--pids-limit 5"), (6, 2, True, "--pids-limit 71")]
)
def test_threads_that_are_too_few(limit: int, cpus: int, has_disks: bool, remedy: str) -> None:
    with pytest.raises(Rejected, match=remedy):
        check_threads(limit, cpus, has_disks=has_disks)


END = images.MIB + 8 * images.MIB


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (images.elf(images.LOAD, images.notes(images.pvh_note())), images.MIB + len(images.CODE)),
        (images.multiboot_elf(), images.MIB + 8 + len(images.multiboot_header())),
        (images.bzimage(), 0),
        (images.bzimage()[:0x258] + (16 * MIB).to_bytes(8, "little") + MIB.to_bytes(4, "little")
         + images.bzimage()[0x264:], 17 * MIB),
        (images.bzimage(protocol=0x209), 0),
        (images.disk(), 0),
    ],
)  # fmt: skip
def test_memory_that_an_image_takes(content: bytes, end: int) -> None:
    image = images.examined(content)
    assert isinstance(image, Image)
    assert image.end == end


def test_memory_of_a_flat_multiboot_image_is_by_its_header() -> None:
    image = images.examined(images.multiboot())
    assert isinstance(image, Image)
    assert image.end == len(images.multiboot()) + images.MIB
