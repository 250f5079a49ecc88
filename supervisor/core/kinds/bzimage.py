"""Linux's boot protocol for x86 (Documentation/arch/x86/boot.rst): the header of a bzImage.

QEMU looks for `HdrS` at 0x202 first, and ignores the boot flag 55 AA (x86_load_linux in hw/i386/x86-common.c, in older
versions x86.c). It compares only the setup part with the file's size. If a part of the kernel after it is missing, the
guest hangs without any output.
"""

import struct

_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_SECTOR_BYTES, _PARAGRAPH_BYTES = 512, 16
_HEADER_BYTES = 0x268
_USUAL_SETUP_SECTORS = 4
_HAS_SYSSIZE, _HAS_COMMAND_LINE, _HAS_PAYLOAD, _HAS_INIT_SIZE = 0x204, 0x206, 0x208, 0x20A
"""Versions of the protocol since which syssize is reliable, and cmdline_size, payload_offset and init_size exist."""


def has_linux_header(head: bytes) -> bool:
    """Return whether QEMU treats this as a bzImage."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def bytes_of_bzimage(head: bytes) -> int:
    """Return how many bytes a bzImage must have according to its header.

    syssize counts paragraphs of 16 bytes. The last one may be incomplete, as it is in iPXE and memtest86+.
    """
    head, version = _whole(head)
    (syssize,) = struct.unpack_from("<I", head, 0x1F4)
    payload_offset, payload_bytes = struct.unpack_from("<II", head, 0x248)
    setup = ((head[0x1F1] or _USUAL_SETUP_SECTORS) + 1) * _SECTOR_BYTES
    code = syssize * _PARAGRAPH_BYTES - (_PARAGRAPH_BYTES - 1) if version >= _HAS_SYSSIZE else 0
    payload = payload_offset + payload_bytes if version >= _HAS_PAYLOAD else 0
    return setup + max(0, code, payload)


def kernel_version(head: bytes) -> bytes:
    """Return the text that the header's kernel_version points to; empty if there is none."""
    (pointer,) = struct.unpack_from("<H", _whole(head)[0], 0x20E)
    start = 0x200 + pointer
    return head[start : start + 256].split(b"\0")[0]


def command_line_bytes(head: bytes) -> int:
    """Return how long the kernel's command line may be (cmdline_size); 0 if the header does not state it."""
    head, version = _whole(head)
    size: int = struct.unpack_from("<I", head, 0x238)[0]
    return size if version >= _HAS_COMMAND_LINE else 0


def end_of_kernel(head: bytes) -> int:
    """Return the address that the kernel needs memory up to when it unpacks itself; 0 if the header does not state it.

    It unpacks itself at pref_address or above, and uses init_size bytes there.
    """
    head, version = _whole(head)
    address, size = struct.unpack_from("<QI", head, 0x258)
    return address + size if version >= _HAS_INIT_SIZE else 0


def _whole(head: bytes) -> tuple[bytes, int]:
    """Return the beginning of an image, padded to a whole header, and the protocol version in the header."""
    head = head.ljust(_HEADER_BYTES, b"\0")
    version: int = struct.unpack_from("<H", head, 0x206)[0]
    return head, version
