"""Compares vtapd's verdict on an image with what the installed QEMU does: vtapd refuses what QEMU refuses.

They differ only in images that QEMU starts unchecked, and that then never print anything.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.core.kinds import MARKERS, require_bootable
from supervisor.edges.kernel import rootfs
from supervisor.errors import Rejected
from tests.harness.machine import built
from tests.unit.images import (
    ARM,
    ARM64,
    BOOTED,
    CODE,
    EXIT_PORT,
    I386,
    IPXE_VERSION,
    LOAD,
    MIB,
    PT_LOAD,
    X86_64,
    Part,
    bzimage,
    elf,
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

BOOTS, SILENT = "boots", "silent"
CRASHES = "crashes"
SILENT_AFTER_S = 2.0
PATIENCE_S = 30.0
LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Case:
    """An image, and what QEMU does with it: BOOTS, SILENT, CRASHES or the error that it exits with."""

    content: bytes
    qemu: str


def flat(header: int = MIB, load: int = MIB, load_end: int = 0, bss_end: int = 0, entry: int = MIB + 32) -> bytes:
    """Return a multiboot image of 103 bytes with these addresses."""
    return (multiboot_header(3, (header, load, load_end, bss_end, entry)) + CODE).ljust(103, b"\0")


NO_NOTE = "Error loading uncompressed kernel without PVH ELF Note"
NOT_LOADED = "Error while loading elf kernel"
NOT_32 = "Cannot load x86-64 image, give a 32bit one."
CASES = {
    "PVH": Case(pvh(), BOOTS),
    "PVH, after other notes": Case(pvh(note(b"GNU", 3, bytes(20)), note(b"Xen", 6, b"linux")), BOOTS),
    "PVH, notes behind megabytes": Case(elf(LOAD, Part(2, bytes(5_000_000)), notes(pvh_note())), BOOTS),
    "PVH, in the second note segment": Case(elf(LOAD, notes(note(b"GNU", 3, bytes(20))), notes(pvh_note())), BOOTS),
    "PVH, 32 bits": Case(elf(LOAD, notes(pvh_note(size=4)), wide=False, machine=I386), BOOTS),
    "PVH, 32-bit class for x86-64": Case(elf(LOAD, notes(pvh_note(size=4)), wide=False), BOOTS),
    "PVH, 64-bit class for i386": Case(elf(LOAD, notes(pvh_note()), machine=I386), BOOTS),
    "PVH, a note of 4 bytes in a 64-bit file": Case(elf(LOAD, notes(pvh_note(size=4))), BOOTS),
    "PVH, of another owner": Case(elf(LOAD, notes(pvh_note(owner=b"Other"))), BOOTS),
    "PVH, a shared object": Case(elf(LOAD, notes(pvh_note()), kind=3), BOOTS),
    "PVH, a core dump": Case(elf(LOAD, notes(pvh_note()), kind=4), BOOTS),
    "PVH, 0 and then an entry point": Case(elf(LOAD, notes(pvh_note(0)), notes(pvh_note())), BOOTS),
    "PVH, an entry point and then 0": Case(elf(LOAD, notes(pvh_note()), notes(pvh_note(0))), NO_NOTE),
    "PVH, entry point 0": Case(elf(LOAD, notes(pvh_note(0))), NO_NOTE),
    "PVH, aligned to 1": Case(elf(LOAD, notes(pvh_note(), align=1)), BOOTS),
    "PVH, aligned to 1, behind another": Case(elf(LOAD, notes(note(b"X", 6, b"abcde"), pvh_note(), align=1)), NO_NOTE),
    "PVH, aligned to 8": Case(elf(LOAD, notes(pvh_note(), align=8)), NO_NOTE),
    "PVH, aligned to 0": Case(elf(LOAD, notes(pvh_note(), align=0)), CRASHES),
    "PVH, refused flags": Case(elf(LOAD, notes(pvh_note()), flags=4), "elfboot unsupported flags = 4"),
    "PVH, other flags": Case(elf(LOAD, notes(pvh_note()), flags=1), BOOTS),
    "PVH, nothing to load": Case(elf(Part(PT_LOAD), notes(pvh_note())), SILENT),
    "ELF without an entry": Case(elf(LOAD), NO_NOTE),
    "ELF without segments": Case(elf(), NOT_LOADED),
    "ELF for arm64": Case(elf(LOAD, notes(pvh_note()), machine=ARM64), NOT_LOADED),
    "ELF, big-endian": Case(elf(LOAD, notes(pvh_note()), little_endian=False), NOT_LOADED),
    "ELF, note beyond the end": Case(elf(LOAD, notes(pvh_note(), size=1000)), NOT_LOADED),
    "ELF, note far beyond the end": Case(elf(LOAD, notes(pvh_note(), offset=1 << 40)), NOT_LOADED),
    "ELF, segment beyond the end": Case(elf(Part(PT_LOAD, CODE, size=1000), notes(pvh_note())), NOT_LOADED),
    "ELF, segment around 2^64": Case(
        elf(Part(PT_LOAD, CODE, offset=(1 << 64) - 8, size=16), notes(pvh_note())), CRASHES
    ),
    "ELF, program headers beyond the end": Case(elf(LOAD, notes(pvh_note()), table=1 << 20), NOT_LOADED),
    "ELF, 5000 program headers": Case(elf(LOAD, notes(pvh_note()), count=5000), NOT_LOADED),
    "multiboot 2": Case(
        elf(Part(PT_LOAD, CODE.ljust(8, b"\0") + multiboot2_header()), wide=False, machine=I386), NO_NOTE
    ),
    "multiboot": Case(multiboot(), BOOTS),
    "multiboot, the last place": Case(multiboot(8140), BOOTS),
    "multiboot, past the last place": Case(multiboot(8144), SILENT),
    "multiboot, with all addresses": Case(flat(load_end=MIB + 103, bss_end=MIB + 4096), BOOTS),
    "multiboot, header below": Case(flat(header=MIB - 1), "invalid load_addr address"),
    "multiboot, header above": Case(flat(header=MIB + 1), "invalid header_addr address"),
    "multiboot, end below": Case(flat(load_end=MIB - 1), "invalid load_end_addr address"),
    "multiboot, cut short": Case(flat(load_end=MIB + 104), "fread() failed"),
    "multiboot, bss below": Case(flat(bss_end=MIB + 4), "invalid bss_end_addr address"),
    "multiboot, beyond 4 GiB": Case(flat((1 << 32) - 16, (1 << 32) - 16), "kernel does not fit in address space"),
    "multiboot, neither addresses nor ELF": Case((multiboot_header() + CODE).ljust(4096, b"\0"), NOT_LOADED),
    "multiboot ELF": Case(multiboot_elf(), BOOTS),
    "multiboot ELF, 64-bit class": Case(multiboot_elf(wide=True), BOOTS),
    "multiboot ELF, x86-64": Case(multiboot_elf(machine=X86_64), NOT_32),
    "multiboot ELF, x86-64, with a PVH note": Case(multiboot_elf(notes(pvh_note()), wide=True, machine=X86_64), NOT_32),
    "multiboot ELF, arm": Case(multiboot_elf(machine=ARM), NOT_LOADED),
    "multiboot ELF, big-endian": Case(multiboot_elf(little_endian=False), NOT_LOADED),
    "multiboot ELF, cut short": Case(multiboot_elf()[:-1], NOT_LOADED),
    "multiboot ELF, nothing to load": Case(
        elf(Part(7, multiboot_header()), wide=False, machine=I386), "Error while fetching elf kernel from rom"
    ),
    "multiboot ELF, notes beyond the end": Case(multiboot_elf(notes(pvh_note(), size=9999)), BOOTS),
    "multiboot ELF, notes aligned to 0": Case(multiboot_elf(notes(pvh_note(), align=0)), BOOTS),
    "Solo5": Case(solo5(), BOOTS),
    "Solo5, notes behind its text": Case(solo5(text_bytes=0xA000), BOOTS),
    "bzImage": Case(bzimage(), BOOTS),
    "bzImage without 55 AA": Case(bzimage().replace(b"\x55\xaa", b"\0\0"), BOOTS),
    "bzImage, old": Case(bzimage(IPXE_VERSION, protocol=0x207)[:-15], BOOTS),
    "bzImage, setup cut short": Case(bzimage()[:2048], "qemu: invalid kernel header"),
    "text": Case(b"#!/bin/sh\n" * 9, "qemu: invalid kernel header"),
    "zeros": Case(bytes(9999), SILENT),
}


@pytest.fixture
def file() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as file:
        yield Path(file.name)


def qemus_verdict(kernel: Path, patience_s: float) -> str:
    """Return what QEMU does. Each image that boots writes to the exit device at once."""
    argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "64", "-nodefaults", "-no-user-config"]
    argv += ["-display", "none", "-device", f"isa-debug-exit,iobase={EXIT_PORT},iosize=4", "-kernel", str(kernel)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as qemu:
        try:
            _, message = qemu.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            qemu.kill()
            return SILENT
    if qemu.returncode == BOOTED:
        return BOOTS
    return CRASHES if qemu.returncode < 0 else message


def vtapds_verdict(kernel: Path) -> str:
    """Return the refusal, or BOOTS."""
    with kernel.open("rb") as opened:
        image = rootfs.read_image(opened.fileno(), MARKERS, LIMIT_BYTES)
    try:
        require_bootable(image, "/kernel")
    except Rejected as refusal:
        return str(refusal)
    return BOOTS


@pytest.mark.parametrize("name", CASES)
def test_vtapd_refuses_what_qemu_does_not_boot(name: str, file: Path) -> None:
    case = CASES[name]
    file.write_bytes(case.content)
    verdict = qemus_verdict(file, SILENT_AFTER_S if case.qemu == SILENT else PATIENCE_S)
    assert case.qemu in verdict
    refusal = vtapds_verdict(file)
    assert (refusal == BOOTS) == (case.qemu == BOOTS), f"QEMU: {verdict}; vtapd: {refusal}"


@pytest.mark.parametrize("parts", [0.001, 0.5, 0.99])
def test_truncated_real_bzimage_is_refused(parts: float, file: Path) -> None:
    """QEMU starts it, and its own decompressor prints nothing."""
    whole = built("linux")[0].read_bytes()
    file.write_bytes(whole)
    assert vtapds_verdict(file) == BOOTS
    file.write_bytes(whole[: int(len(whole) * parts)])
    assert "it is a bzImage cut short" in vtapds_verdict(file)
    verdict = qemus_verdict(file, SILENT_AFTER_S)
    assert verdict == SILENT or "invalid kernel header" in verdict


def test_real_ipxe_image_is_not_called_truncated(file: Path) -> None:
    file.write_bytes(built("ipxe")[0].read_bytes())
    assert vtapds_verdict(file) == BOOTS
