"""Recognition of kinds. The file named after a kind tests what it is given; test_network tests what kinds share."""

import pytest

from supervisor.core.kinds import FORMS, KINDS, Choice, choose_kind, require_bootable
from supervisor.core.kinds.kind import GuestKind
from supervisor.errors import Rejected

from .examples import NETWORK, ONLY_IPV6, booted
from .images import (
    IPXE_VERSION,
    LINUX_BANNER,
    LOAD,
    bzimage,
    disk,
    elf,
    examined,
    multiboot,
    multiboot_elf,
    note,
    notes,
    pvh,
    pvh_note,
    solo5,
)


def choose(asked: str, content: bytes, path: str) -> Choice:
    """Choose the kind for an image that QEMU boots."""
    return choose_kind(asked, require_bootable(examined(content), path), path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bzimage(), "linux"),
        (multiboot() + b"rumprun", "rumprun"),
        (multiboot(4096) + bytes(100_000) + b"rumpuser", "rumprun"),
        (multiboot(), "raw"),
        (multiboot_elf() + b"rumprun", "rumprun"),
        (pvh(), "raw"),
        (pvh() + b"rumprun", "raw"),
        (bzimage(IPXE_VERSION), "raw"),
        (bzimage(b""), "raw"),
        (pvh() + LINUX_BANNER, "linux"),
        (pvh(note(b"GNU", 3, bytes(20))) + bytes(5_000_000) + LINUX_BANNER, "linux"),
        (elf(LOAD, notes(pvh_note(owner=b"Other"))) + LINUX_BANNER, "raw"),
        (multiboot_elf() + LINUX_BANNER, "raw"),
        (multiboot_elf(notes(pvh_note())) + LINUX_BANNER, "raw"),
        (multiboot() + b"\nPowered by Unikraft Telesto (0.16.3~62751d5)", "unikraft"),
        (multiboot() + b"libkvmplat", "unikraft"),
        (multiboot() + b"libukboot ipv4_subnet_mask", "unikraft"),
        (pvh() + b"libukboot", "raw"),
        (pvh() + b"_ZN3osv8poweroffEv", "osv"),
        (bzimage(b"") + b"--power-off-on-abort", "osv"),
        (multiboot() + b"--power-off-on-abort", "osv"),
        (multiboot(100) + b"_ZN3osv8poweroffEv", "osv"),
        (solo5(), "mirage"),
        (solo5(text_bytes=0xA000), "mirage"),
        (solo5(text_bytes=5_000_000), "mirage"),
        (solo5(target=1), "raw"),
        (solo5().replace(b"Solo5", b"Solo6"), "raw"),
        (disk() + bytes(100_000) + b"NVMTFS", "nanos"),
        (disk(), "raw"),
        (disk() + multiboot() + b"rumprun", "raw"),
        (disk() + multiboot() + b"NVMTFS", "nanos"),
        (pvh() + b"Nanos\0", "nanos"),
        (pvh() + b"Nanoseconds", "raw"),
        (pvh(note(b"HERMIT", 0x5A00, b"\1")), "hermit"),
        (multiboot() + b"hermit-loader", "hermit"),
        (pvh() + b"hermit-loader", "hermit"),
        (bzimage(b"") + b"hermit-loader", "raw"),
    ],
)
def test_auto_recognises_the_kind_by_the_image(content: bytes, kind: str) -> None:
    chosen, because = choose("auto", content, "/kernel")
    assert chosen.name == kind
    assert because


def test_image_that_could_be_two_kinds_is_raw_and_both_are_named() -> None:
    chosen, because = choose("auto", multiboot() + b"rumprun, libukboot", "/kernel")
    assert chosen is KINDS["raw"]
    assert "in doubt" in because
    assert "(rumprun)" in because
    assert "(unikraft)" in because


def test_unrecognised_image_is_raw_with_the_reason() -> None:
    assert choose("auto", multiboot(), "/kernel").because == (
        "an image that QEMU boots, with no sign of a kind that vtapd knows"
    )
    assert "a disk with a boot sector" in choose("auto", disk(), "/disk").because


KERNEL_KINDS = sorted({form.name for form in FORMS if not form.machine.boots_disk})


@pytest.mark.parametrize("asked", KERNEL_KINDS)
def test_requested_kind_is_chosen(asked: str) -> None:
    chosen, because = choose(asked, multiboot(), "/kernel")
    assert chosen.name == asked
    assert not chosen.machine.boots_disk
    assert because == "label vtapd.guest says so"


def test_form_of_a_kind_is_read_from_its_image() -> None:
    old, new = (choose("unikraft", multiboot() + text, "/kernel").kind for text in OLD_AND_NEW)
    assert booted(old) == booted(new)
    assert old is not new
    assert choose("unikraft", multiboot(), "/kernel").kind is new
    assert choose("nanos", disk(), "/disk").kind.machine.boots_disk


OLD_AND_NEW = (b"libukboot ipv4_subnet_mask", b"libukboot")


@pytest.mark.parametrize("asked", sorted(set(KINDS) - {"raw", "nanos"}))
def test_disk_is_refused_as_a_kernel(asked: str) -> None:
    with pytest.raises(Rejected, match=f"vtapd.guest={asked}.*'/disk.img' is a disk"):
        choose(asked, disk(), "/disk.img")


@pytest.mark.parametrize("asked", ["auto", *sorted(KINDS)])
@pytest.mark.parametrize("content", [b"", b"\x7fEL", b"#!/bin/sh\n", b"rumprun" * 99, multiboot(checksum_error=1)])
def test_unbootable_file_is_rejected_for_every_kind(asked: str, content: bytes) -> None:
    with pytest.raises(Rejected, match="'/etc/passwd' cannot be booted: it is neither a multiboot image nor") as caught:
        choose(asked, content, "/etc/passwd")
    assert caught.value.step == "kernel"
    assert "vtapd.kernel" in caught.value.remedy


def test_path_in_a_refusal_is_escaped() -> None:
    with pytest.raises(Rejected, match=r"'/\\x1b\[2J'"):
        choose("auto", b"", "/\x1b[2J")


def test_every_kind_is_listed_under_its_name() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
    assert sorted(KINDS) == sorted({form.name for form in FORMS})


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_kind_end_alike(form: GuestKind) -> None:
    """The daemon knows only the kind of a guest that an earlier daemon started."""
    first = KINDS[form.name]
    assert (form.stop, form.console, form.verdict_of_status) == (first.stop, first.console, first.verdict_of_status)


@pytest.mark.parametrize(
    ("kind", "room_bytes"),
    [
        ("rumprun", 4094),
        ("unikraft", 4088),
        ("mirage", 8191),
        ("linux", 2047),
        ("osv", 131071),
        ("nanos", 131071),
        ("hermit", 131071),
        ("raw", 131071),
    ],
)
def test_command_line_room_is_that_of_the_kinds_source(kind: str, room_bytes: int) -> None:
    image = require_bootable(examined(multiboot()), "/kernel")
    assert {form.room_bytes(image) for form in FORMS if form.name == kind} == {room_bytes}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name} {form.machine.type} {form.ip_versions}")
def test_kind_takes_the_ip_versions_that_it_declares(form: GuestKind) -> None:
    """The plan takes addresses over by this declaration, so that no guest loses an address that it cannot be given."""
    boot = booted(form, "", NETWORK)
    if form.ip_versions:
        assert "172.17.0.2" in boot.command_line or any(b"172.17.0.2" in module for module in boot.modules)
    else:
        assert booted(form, "", ONLY_IPV6) == boot
    if form.ip_versions == (4,):
        with pytest.raises(Rejected, match="no IPv4 address"):
            booted(form, "", ONLY_IPV6)
