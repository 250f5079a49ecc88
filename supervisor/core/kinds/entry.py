"""Decide by which protocol QEMU's -kernel starts an image, or why it cannot start it.

QEMU looks for three things in this order (x86_load_linux in hw/i386/x86-common.c, in older versions x86.c): Linux's
boot header, a multiboot header, an ELF file with a PVH note. The first that it finds decides. So an x86-64 ELF file
with a multiboot header is refused, even if it has a PVH note too. A file with none of the three is booted as a Linux
from before 1.3.73, or refused as an `invalid kernel header`. vtapd refuses both.

PVH (load_elfboot, read_pvh_start_addr): a note of type 18 in a PT_NOTE segment. QEMU checks neither its owner nor its
size. It reads the entry point from 4 bytes in a 32-bit file and from 8 bytes in a 64-bit file, and refuses 0. It boots
both classes, for i386 and x86-64, with any e_type. It refuses the e_flags 0x10004, and a note segment that reaches
beyond the file. A p_align of 0 makes it divide by zero.

ELF in general (load_elf): little-endian, i386 or x86-64, complete program headers, no PT_LOAD that reaches beyond the
file. A PT_LOAD with more bytes in the file than in memory is refused by newer versions; QEMU 7.2 starts it, and the
guest does nothing.
tests/integration/guest/test_boot_verdicts.py compares all this with the QEMU that is installed.
"""

from dataclasses import dataclass
from enum import Enum

from supervisor.core.kinds.bzimage import bytes_of_bzimage, has_linux_header
from supervisor.core.kinds.elf import MAX_SEGMENTS, Elf
from supervisor.core.kinds.multiboot import Header, find_header, overlooked_header, problem_of_addresses

PVH_NOTE = 18
"""XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h)."""
_X86_64 = 62
_X86 = (3, _X86_64)
_MACHINES = {40: "arm", 183: "arm64", 243: "RISC-V"}
_REFUSED_FLAGS = 0x10004
_ANOTHER = "name a bootable image in label vtapd.kernel"
_WHOLE = "put the whole file into the container"
_WITH_AN_ENTRY = "build it for multiboot as a 32-bit file, or with a PVH note, or name another image in vtapd.kernel"
_REMEDIES = {
    b"Solo5": "build it for Solo5's virtio target",
    b"HERMIT": "name Hermit's loader in label vtapd.kernel, and this file in label vtapd.initrd",
    b"Linux": "name the bzImage (vmlinuz) in label vtapd.kernel, or build the kernel with CONFIG_PVH=y",
}
"""The remedy for an ELF file that QEMU cannot enter, by the owner of one of its notes."""


class Entry(Enum):
    """How QEMU starts an image. The value names what the image has for that."""

    LINUX = "Linux's boot header"
    MULTIBOOT = "a multiboot header"
    PVH = "a PVH note"
    DISK = "a boot sector"


@dataclass(frozen=True, slots=True)
class Unbootable:
    """An image that QEMU cannot boot."""

    reason: str
    """A sentence about "it", without a period."""
    remedy: str


def entry_of(head: bytes, size: int, elf: Elf | None) -> Entry | Unbootable:
    """Return how QEMU starts the file with this beginning and this size, or why it cannot start it."""
    if has_linux_header(head):
        return _problem_of_bzimage(head, size) or Entry.LINUX
    if elf is None and _is_disk(head):
        return Entry.DISK
    header = find_header(head)
    if header is not None:
        return _problem_of_multiboot(header, size, elf) or Entry.MULTIBOOT
    if elf is not None:
        return _problem_of_pvh(elf, size, overlooked_header(head)) or Entry.PVH
    reason = "it is neither a multiboot image nor a Linux bzImage nor an ELF file nor a bootable disk"
    return Unbootable(_joined(reason, overlooked_header(head)), _ANOTHER)


def _is_disk(head: bytes) -> bool:
    """Return whether this is the beginning of a disk that a PC's firmware boots: 55 AA ends the first sector.

    A multiboot header does not make it a kernel: a kernel may be near the beginning of a disk.
    """
    return head[0x1FE:0x200] == b"\x55\xaa"


def _problem_of_bzimage(head: bytes, size: int) -> Unbootable | None:
    needed = bytes_of_bzimage(head)
    if size >= needed:
        return None
    return Unbootable(f"it is a bzImage cut short: it has {size} bytes, and by its header it needs {needed}", _WHOLE)


def _problem_of_multiboot(header: Header, size: int, elf: Elf | None) -> Unbootable | None:
    if header.addresses is not None:
        problem = problem_of_addresses(header.offset, header.addresses, size)
        return Unbootable(problem, _ANOTHER) if problem else None
    if elf is None:
        return Unbootable("its multiboot header has no load addresses, and it is no ELF file", _ANOTHER)
    if elf.machine == _X86_64:
        return Unbootable(
            "it is an x86-64 ELF file whose multiboot header has no load addresses, and QEMU boots only a 32-bit one",
            "make it a 32-bit ELF file (objcopy -O elf32-i386), or give it a PVH note in place of the multiboot header",
        )
    return _problem_of_loading(elf, size)


def _problem_of_pvh(elf: Elf, size: int, overlooked: str | None) -> Unbootable | None:
    if problem := _problem_of_loading(elf, size):
        return problem
    if any(segment.file.is_beyond(size) for segment in elf.note_segments):
        return _cut_short(elf, size)
    if any(segment.align == 0 for segment in elf.note_segments):
        return Unbootable("it has a note segment with alignment 0, at which QEMU crashes", _ANOTHER)
    if elf.flags & _REFUSED_FLAGS:
        return Unbootable(f"it has ELF flags 0x{elf.flags:x}, which QEMU refuses", _ANOTHER)
    if _pvh_entry_point(elf):
        return None
    bits = 64 if elf.wide else 32
    reason = f"it is a {bits}-bit ELF file with neither a multiboot header nor a PVH note that names an entry point"
    remedy = next((_REMEDIES[note.owner] for note in elf.notes if note.owner in _REMEDIES), _WITH_AN_ENTRY)
    return Unbootable(_joined(reason, overlooked), remedy)


def _pvh_entry_point(elf: Elf) -> int:
    """Return the address that QEMU jumps to: the first such note of a segment counts, and the last such segment."""
    firsts = [next((note for note in notes if note.type == PVH_NOTE), None) for notes in elf.notes_by_segment]
    entries = [note.content[: 8 if elf.wide else 4] for note in firsts if note is not None]
    return int.from_bytes(entries[-1], "little") if entries else 0


def _problem_of_loading(elf: Elf, size: int) -> Unbootable | None:
    """Return why QEMU cannot load the segments into memory."""
    if not elf.little_endian or elf.machine not in _X86:
        machine = _MACHINES.get(elf.machine, f"machine {elf.machine}") if elf.little_endian else "a big-endian machine"
        return Unbootable(f"it is an ELF file for {machine}", "build it for x86-64")
    if elf.table.is_beyond(size) or any(segment.file.is_beyond(size) for segment in elf.loads):
        return _cut_short(elf, size)
    if elf.segment_count > MAX_SEGMENTS:
        return Unbootable(f"it has {elf.segment_count} program headers; vtapd reads at most {MAX_SEGMENTS}", _ANOTHER)
    if not any(segment.memory_bytes for segment in elf.loads):
        return Unbootable("it is an ELF file without a segment to load", _ANOTHER)
    if any(segment.file.size > segment.memory_bytes for segment in elf.loads):
        return Unbootable("it has a segment that is larger in the file than in memory", _ANOTHER)
    return None


def _cut_short(elf: Elf, size: int) -> Unbootable:
    parts = (elf.table, *(segment.file for segment in (*elf.loads, *elf.note_segments)))
    end = max(part.end for part in parts)
    return Unbootable(f"it is an ELF file cut short: it has {size} bytes, and by its headers it needs {end}", _WHOLE)


def _joined(reason: str, more: str | None) -> str:
    return f"{reason}; {more}" if more else reason
