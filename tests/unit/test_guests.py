"""How kinds are recognised; what each kind is told is in the file of its name, test_network tells of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guests import FORMS, KINDS, choose_kind
from supervisor.core.guests.kind import GuestKind
from supervisor.core.guests.multiboot import has_linux_header, has_multiboot_header, is_disk, is_elf
from supervisor.errors import Rejected

from .images import IPXE_VERSION, bzimage, disk, elf, elf_with_notes, image, multiboot, note, solo5
from .things import NETWORK, ONLY_IPV6, booted


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bzimage(), "linux"),
        (multiboot() + b"rumprun", "rumprun"),
        (multiboot(4096) + bytes(100_000) + b"rumpuser", "rumprun"),
        (multiboot(), "raw"),
        (elf(), "raw"),
        (elf() + b"rumprun", "raw"),
        (bzimage(IPXE_VERSION), "raw"),
        (bzimage()[:0x240], "raw"),
        (multiboot() + b"\nPowered by Unikraft Telesto (0.16.3~62751d5)", "unikraft"),
        (multiboot() + b"libkvmplat", "unikraft"),
        (multiboot() + b"libukboot ipv4_subnet_mask", "unikraft"),
        (elf() + b"libukboot", "raw"),
        (elf() + b"_ZN3osv8poweroffEv", "osv"),
        (multiboot() + b"--power-off-on-abort", "osv"),
        (bytes(100) + multiboot() + b"_ZN3osv8poweroffEv", "osv"),
        (solo5(), "mirage"),
        (solo5(target=1), "raw"),
        (solo5().replace(b"Solo5", b"Solo6"), "raw"),
        (disk() + bytes(100_000) + b"NVMTFS", "nanos"),
        (disk(), "raw"),
        (disk() + multiboot() + b"rumprun", "raw"),
        (disk() + multiboot() + b"NVMTFS", "nanos"),
        (elf() + b"Nanos\0", "nanos"),
        (elf() + b"Nanoseconds", "raw"),
        (elf_with_notes(note(b"HERMIT", 0x5A00, b"\1")), "hermit"),
        (multiboot() + b"hermit-loader", "hermit"),
        (elf() + b"hermit-loader", "raw"),
    ],
)
def test_auto_recognises_the_kind_by_the_image(content: bytes, kind: str) -> None:
    chosen, because = choose_kind("auto", image(content), "/kernel")
    assert chosen.name == kind
    assert because


def test_an_image_that_could_be_two_kinds_is_raw_and_both_are_named() -> None:
    chosen, because = choose_kind("auto", image(multiboot() + b"rumprun, libukboot"), "/kernel")
    assert chosen is KINDS["raw"]
    assert "in doubt" in because
    assert "(rumprun)" in because
    assert "(unikraft)" in because


def test_why_nothing_was_recognised_is_said() -> None:
    assert choose_kind("auto", image(multiboot()), "/kernel").because == (
        "an image that QEMU boots, with no sign of a kind that vtapd knows"
    )
    assert "a disk with a boot sector" in choose_kind("auto", image(disk()), "/disk").because


KERNEL_KINDS = sorted({form.name for form in FORMS if not form.machine.boots_disk})


@pytest.mark.parametrize("asked", KERNEL_KINDS)
def test_a_kind_that_was_asked_for_is_taken(asked: str) -> None:
    chosen, because = choose_kind(asked, image(multiboot()), "/kernel")
    assert chosen.name == asked
    assert not chosen.machine.boots_disk
    assert because == "label vtapd.guest says so"


def test_the_form_of_a_kind_is_read_from_its_image() -> None:
    old, new = (choose_kind("unikraft", image(multiboot() + text), "/kernel").kind for text in OLD_AND_NEW)
    assert booted(old) == booted(new)
    assert old is not new
    assert choose_kind("unikraft", image(multiboot()), "/kernel").kind is new
    assert choose_kind("nanos", image(disk()), "/disk").kind.machine.boots_disk


OLD_AND_NEW = (b"libukboot ipv4_subnet_mask", b"libukboot")


@pytest.mark.parametrize("asked", sorted(set(KINDS) - {"raw", "nanos"}))
def test_a_disk_is_no_kernel(asked: str) -> None:
    with pytest.raises(Rejected, match=f"vtapd.guest={asked}.*'/disk.img' is a disk"):
        choose_kind(asked, image(disk()), "/disk.img")


@pytest.mark.parametrize("asked", ["auto", *sorted(KINDS)])
@pytest.mark.parametrize("content", [b"", b"\x7fEL", b"#!/bin/sh\n", b"rumprun" * 99, multiboot(checksum_error=1)])
def test_what_qemu_cannot_boot_is_rejected_whatever_was_asked(asked: str, content: bytes) -> None:
    with pytest.raises(Rejected, match="'/etc/passwd' is no kernel") as caught:
        choose_kind(asked, image(content), "/etc/passwd")
    assert caught.value.step == "kernel"
    assert "vtapd.kernel" in caught.value.remedy


def test_a_path_from_outside_is_shown_escaped() -> None:
    with pytest.raises(Rejected, match=r"'/\\x1b\[2J'"):
        choose_kind("auto", image(b""), "/\x1b[2J")


@pytest.mark.parametrize("offset", [0, 4, 4096, 8192 - 12])
def test_a_multiboot_header_counts_within_its_window(offset: int) -> None:
    assert has_multiboot_header(multiboot(offset))


@pytest.mark.parametrize("offset", [2, 8192 - 8, 8192, 16384])
def test_a_multiboot_header_unaligned_or_past_its_window_does_not_count(offset: int) -> None:
    assert not has_multiboot_header(multiboot(offset))


def test_two_bytes_make_a_boot_sector() -> None:
    assert is_disk(disk())
    assert not is_disk(disk()[:0x1FF])
    assert not is_disk(disk().replace(b"\x55\xaa", b"\xaa\x55"))
    assert not is_disk(bzimage())
    assert not is_disk(elf() + disk()[len(elf()) :])


def test_both_marks_make_a_bzimage() -> None:
    assert has_linux_header(bzimage())
    assert not has_linux_header(bzimage().replace(b"HdrS", b"HdrX"))
    assert not has_linux_header(bzimage().replace(b"\x55\xaa", b"\x55\xab"))


@given(st.binary(max_size=64))
def test_any_bytes_can_be_looked_at(content: bytes) -> None:
    assert has_multiboot_header(multiboot() + content)
    assert has_linux_header(content) is False
    assert is_elf(content) == content.startswith(b"\x7fELF")


def test_every_kind_is_listed_under_its_name() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
    assert sorted(KINDS) == sorted({form.name for form in FORMS})


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_kind_end_alike(form: GuestKind) -> None:
    """A guest that another daemon started is known by its kind alone."""
    first = KINDS[form.name]
    assert (form.stop, form.console, form.verdict_of_status) == (first.stop, first.console, first.verdict_of_status)


@pytest.mark.parametrize(
    ("kind", "room_bytes"),
    [
        ("rumprun", 4094),
        ("unikraft", 4088),
        ("mirage", 8191),
        ("linux", 2047),
        ("osv", None),
        ("nanos", None),
        ("hermit", None),
        ("raw", None),
    ],
)
def test_room_for_the_command_line_is_what_the_source_says(kind: str, room_bytes: int | None) -> None:
    assert {form.room_bytes(image(b"")) for form in FORMS if form.name == kind} == {room_bytes}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name} {form.machine.type} {form.ip_versions}")
def test_what_a_kind_says_of_its_ip_versions_is_so(form: GuestKind) -> None:
    """By this the plan decides what is taken over; so that no guest takes an address that it is not told."""
    told = booted(form, "", NETWORK)
    if form.ip_versions:
        assert "172.17.0.2" in told.command_line or any(b"172.17.0.2" in module for module in told.modules)
    else:
        assert booted(form, "", ONLY_IPV6) == told
    if form.ip_versions == (4,):
        with pytest.raises(Rejected, match="no IPv4 address"):
            booted(form, "", ONLY_IPV6)
