"""The boot protocols by which QEMU's -kernel recognises an image."""

import struct

_MULTIBOOT_MAGIC = 0x1BADB002
_MULTIBOOT_WINDOW = 8192
"""The header lies within the first 8 KiB, aligned to 4 (Multiboot Specification 0.6.96, 3.1)."""


def has_multiboot_header(head: bytes) -> bool:
    """Whether a multiboot header with a right checksum is there."""
    window = head[:_MULTIBOOT_WINDOW]
    for offset in range(0, len(window) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", window, offset)
        if magic == _MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            return True
    return False


def has_linux_header(head: bytes) -> bool:
    """Whether this is a bzImage (Documentation/arch/x86/boot.rst: boot_flag at 0x1FE, header at 0x202)."""
    return head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS"


def is_elf(head: bytes) -> bool:
    """Whether this is an ELF image; QEMU boots one that has a PVH note and says itself when it has none."""
    return head[:4] == b"\x7fELF"


def is_bootable(head: bytes) -> bool:
    """Whether QEMU's -kernel would try to boot this, were it no disk."""
    return has_multiboot_header(head) or has_linux_header(head) or is_elf(head)


def is_disk(head: bytes) -> bool:
    """Whether this begins as a disk that a PC's firmware boots: the mark 55 AA ends the first sector.

    So does a bzImage's. A kernel may lie near a disk's beginning, so a multiboot header makes it no kernel.
    """
    return head[0x1FE:0x200] == b"\x55\xaa" and not (has_linux_header(head) or is_elf(head))
