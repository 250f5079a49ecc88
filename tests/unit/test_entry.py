"""Boot protocols of images, and the reasons why QEMU does not start an image.

tests/integration/guest/test_boot_verdicts.py boots the same images in QEMU.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.kinds.bzimage import bytes_of_bzimage, has_linux_header
from supervisor.core.kinds.entry import Entry, Unbootable
from supervisor.core.kinds.kind import Image
from supervisor.core.kinds.multiboot import find_header

from .images import (
    ARM,
    ARM64,
    CODE,
    I386,
    IPXE_VERSION,
    LOAD,
    MIB,
    PT_LOAD,
    X86_64,
    Part,
    bzimage,
    disk,
    elf,
    examined,
    multiboot,
    multiboot2_header,
    multiboot_elf,
    multiboot_header,
    note,
    notes,
    pvh,
    pvh_note,
    solo5,
)


def entry_into(content: bytes) -> Entry:
    image = examined(content)
    assert isinstance(image, Image), image
    return image.entry


def refusal_of(content: bytes) -> Unbootable:
    image = examined(content)
    assert isinstance(image, Unbootable), image
    return image


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (bzimage(), Entry.LINUX),
        (bzimage().replace(b"\x55\xaa", b"\0\0"), Entry.LINUX),
        (bzimage() + multiboot(), Entry.LINUX),
        (multiboot(), Entry.MULTIBOOT),
        (multiboot_elf(), Entry.MULTIBOOT),
        (multiboot_elf(wide=True), Entry.MULTIBOOT),
        (multiboot_elf(notes(pvh_note(), align=0)), Entry.MULTIBOOT),
        (multiboot_elf(notes(pvh_note(), size=9999)), Entry.MULTIBOOT),
        (solo5(), Entry.MULTIBOOT),
        (pvh(), Entry.PVH),
        (elf(LOAD, notes(pvh_note(size=4)), wide=False, machine=I386), Entry.PVH),
        (elf(LOAD, notes(pvh_note(size=8)), wide=False, machine=X86_64), Entry.PVH),
        (elf(LOAD, notes(pvh_note(size=4))), Entry.PVH),
        (elf(LOAD, notes(pvh_note()), machine=I386), Entry.PVH),
        (elf(LOAD, notes(pvh_note()), kind=3), Entry.PVH),
        (elf(LOAD, notes(pvh_note()), flags=1), Entry.PVH),
        (elf(LOAD, notes(pvh_note(owner=b"Other"))), Entry.PVH),
        (elf(LOAD, notes(note(b"GNU", 3, bytes(20))), notes(pvh_note())), Entry.PVH),
        (elf(LOAD, notes(pvh_note(0)), notes(pvh_note())), Entry.PVH),
        (elf(LOAD, notes(pvh_note()), Part(4, offset=1 << 40)), Entry.PVH),
        (disk(), Entry.DISK),
        (disk() + multiboot(), Entry.DISK),
        (disk()[:0x200], Entry.DISK),
    ],
)
def test_first_boot_protocol_of_an_image_decides(content: bytes, entry: Entry) -> None:
    assert entry_into(content) is entry


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither a multiboot image nor a Linux bzImage nor an ELF file nor a bootable disk"),
        (disk()[:0x1FF], "neither a multiboot image"),
        (disk().replace(b"\x55\xaa", b"\xaa\x55"), "neither a multiboot image"),
        (bzimage().replace(b"HdrS", b"HdrX").replace(b"\x55\xaa", b"\0\0"), "neither a multiboot image"),
        (multiboot(8144), "neither a multiboot image .*; its multiboot header is at byte 8144, .* before byte 8144"),
        (multiboot2_header(), "neither a multiboot image .*; it has a multiboot 2 header, and QEMU knows only multi"),
        (multiboot_header() + CODE, "its multiboot header has no load addresses, and it is no ELF file"),
        (multiboot_elf(machine=X86_64), "it is an x86-64 ELF file whose multiboot header has no load addresses"),
        (multiboot_elf(notes(pvh_note()), wide=True, machine=X86_64), "it is an x86-64 ELF file whose multiboot"),
        (multiboot_elf(machine=ARM), "it is an ELF file for arm$"),
        (multiboot_elf(little_endian=False), "it is an ELF file for a big-endian machine"),
        (elf(Part(7, multiboot_header()), wide=False, machine=I386), "it is an ELF file without a segment to load"),
        (multiboot_elf()[:-1], r"it is an ELF file cut short: it has 135 bytes, and by its headers it needs 136"),
        (elf(LOAD), "it is a 64-bit ELF file with neither a multiboot header nor a PVH note that names an entry point"),
        (elf(LOAD, wide=False, machine=I386), "it is a 32-bit ELF file with neither"),
        (elf(Part(PT_LOAD, multiboot2_header())), "it is a 64-bit ELF file with neither .*; it has a multiboot 2"),
        (elf(LOAD, notes(pvh_note(0))), "with neither a multiboot header nor a PVH note that names an entry point"),
        (elf(LOAD, notes(pvh_note()), notes(pvh_note(0))), "a PVH note that names an entry point"),
        (elf(LOAD, notes(pvh_note(), align=8)), "a PVH note that names an entry point"),
        (elf(LOAD, notes(note(b"X", 6, b"abcde"), pvh_note(), align=1)), "a PVH note that names an entry point"),
        (elf(LOAD, notes(pvh_note(), align=0)), "it has a note segment with alignment 0, at which QEMU crashes"),
        (elf(LOAD, notes(pvh_note()), flags=4), "it has ELF flags 0x4, which QEMU refuses"),
        (elf(LOAD, notes(pvh_note()), machine=ARM64), "it is an ELF file for arm64"),
        (elf(LOAD, notes(pvh_note()), machine=99), "it is an ELF file for machine 99"),
        (elf(LOAD, notes(pvh_note()), little_endian=False), "it is an ELF file for a big-endian machine"),
        (elf(LOAD, notes(pvh_note()), table=1 << 20), "it is an ELF file cut short: .* needs 1048688"),
        (elf(LOAD, notes(pvh_note()), count=5000), "it is an ELF file cut short"),
        (elf(*[LOAD] * 200, notes(pvh_note())), "it has 201 program headers; vtapd reads at most 128"),
        (elf(LOAD, notes(pvh_note(), size=1000)), "it is an ELF file cut short"),
        (elf(LOAD, notes(pvh_note(), offset=1 << 40)), "it is an ELF file cut short"),
        (elf(Part(PT_LOAD, CODE, size=1000), notes(pvh_note())), "it is an ELF file cut short"),
        (elf(Part(PT_LOAD, CODE, offset=(1 << 64) - 8, size=16), notes(pvh_note())), "it is an ELF file cut short"),
        (elf(Part(PT_LOAD, CODE, memory=3), notes(pvh_note())), "it has a segment that is larger in the file than in"),
        (elf(), "it is an ELF file without a segment to load"),
        (elf(notes(pvh_note())), "it is an ELF file without a segment to load"),
        (elf(Part(PT_LOAD), notes(pvh_note())), "it is an ELF file without a segment to load"),
    ],
)
def test_unbootable_image_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    refusal = refusal_of(content)
    assert re.search(reason, refusal.reason), refusal.reason
    assert refusal.remedy


@pytest.mark.parametrize(
    ("owner", "remedy"),
    [(b"Solo5", "virtio target"), (b"HERMIT", "vtapd.initrd"), (b"Linux", "vmlinuz"), (b"X", "PVH")],
)
def test_remedy_fits_the_owner_of_the_image(owner: bytes, remedy: str) -> None:
    assert remedy in refusal_of(elf(LOAD, notes(note(b"GNU", 3, bytes(20)), note(owner, 1, bytes(4))))).remedy


# Multiboot


@pytest.mark.parametrize("offset", [0, 4, 4096, 8140])
def test_multiboot_header_within_the_window_of_qemu_counts(offset: int) -> None:
    assert find_header(multiboot(offset))


@pytest.mark.parametrize("offset", [2, 8144, 8192 - 12, 8192 - 8, 8192, 16384])
def test_multiboot_header_unaligned_or_past_the_window_does_not_count(offset: int) -> None:
    assert not find_header(multiboot(offset))


def test_broken_header_does_not_hide_the_next_one() -> None:
    assert find_header(multiboot_header(checksum_error=1) + multiboot())
    assert find_header(b"xx" + multiboot_header()[:10] + multiboot())
    assert not find_header(multiboot()[:11])


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        ((MIB, MIB, 0, 0), None),
        ((MIB, MIB, MIB + 103, MIB + 999), None),
        ((MIB, MIB, MIB + 103, MIB + 103), None),
        ((MIB - 1, MIB, 0, 0), "load_addr 0x100000 does not fit its header_addr 0xfffff"),
        ((MIB + 1, MIB, 0, 0), "load_addr 0x100000 does not fit its header_addr 0x100001"),
        ((MIB, MIB, MIB - 1, 0), "load_end_addr 0xfffff is below its load_addr 0x100000"),
        ((MIB, MIB, MIB + 104, 0), "it is cut short: it has 103 bytes, and by its multiboot header it needs 104"),
        ((MIB, MIB, 0, MIB + 9), "bss_end_addr 0x100009 is below the end of what is loaded"),
        (((1 << 32) - 104,) * 2 + (0, 0), None),
        (((1 << 32) - 103,) * 2 + (0, 0), "reaches beyond 4 GiB: 103 bytes at 0xffffff99"),
    ],
)
def test_multiboot_addresses_must_fit_the_file(addresses: tuple[int, int, int, int], reason: str | None) -> None:
    content = (multiboot_header(3, (*addresses, MIB + 32)) + CODE).ljust(103, b"\0")
    if reason is None:
        assert entry_into(content) is Entry.MULTIBOOT
    else:
        assert reason in refusal_of(content).reason


# Linux's boot header


@pytest.mark.parametrize("missing", [1, 64, 64 + 512, 2000])
def test_truncated_bzimage_is_refused(missing: int) -> None:
    whole = bzimage()
    refusal = refusal_of(whole[:-missing])
    assert (
        refusal.reason == f"it is a bzImage cut short: it has {2624 - missing} bytes, and by its header it needs 2624"
    )
    assert "whole file" in refusal.remedy


def test_bzimage_may_end_within_its_last_paragraph() -> None:
    """The images of iPXE and memtest86+ do."""
    old = bzimage(IPXE_VERSION, protocol=0x207)
    assert entry_into(old[:-15]) is Entry.LINUX
    assert refusal_of(old[:-16]).reason.startswith("it is a bzImage cut short")


def test_fields_of_a_later_boot_protocol_are_ignored() -> None:
    """The header of iPXE has protocol 2.07, and text at the offset of payload_offset of later protocols."""
    longer = bytearray(bzimage(protocol=0x207))
    longer[0x248:0x250] = b"\xff" * 8
    assert entry_into(bytes(longer)) is Entry.LINUX
    longer[0x206:0x208] = b"\x08\x02"
    assert refusal_of(bytes(longer)).reason.startswith("it is a bzImage cut short")
    assert entry_into(bzimage(protocol=0x203)[: 5 * 512]) is Entry.LINUX


def test_zero_setup_sectors_means_four() -> None:
    bare = bytearray(bzimage())
    bare[0x1F1] = 0
    assert bytes_of_bzimage(bytes(bare)) == len(bare)


@given(st.binary(max_size=64))
def test_random_bytes_do_not_break_the_examination(content: bytes) -> None:
    assert find_header(multiboot() + content)
    assert has_linux_header(content) is False
    assert examined(content)
    assert bytes_of_bzimage(content) >= 1024
