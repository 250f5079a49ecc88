"""The ELF file that is compressed inside Debian's (or Ubuntu's) bzImage: no package contains it directly.

The boot header says where it is (Documentation/arch/x86/boot.rst: payload_offset, payload_length), its first bytes
say how it is compressed. Except after gzip, the kernel's build appends four bytes with the uncompressed size.
"""

import lzma
import struct
import subprocess
import zlib
from pathlib import Path

from . import linux_guest
from .cache import BUILD, ImageError, cached, sources

_TIMEOUT_S = 60
_SIZE_BYTES = 4
_COMMANDS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}


def _payload(kernel: bytes) -> bytes:
    setup_bytes = (kernel[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", kernel, 0x248)
    return kernel[setup_bytes + offset : setup_bytes + offset + length]


def _decompressed(payload: bytes) -> bytes:
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload)
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(payload[:-_SIZE_BYTES])
    command = _COMMANDS.get(payload[:4])
    if command is None:
        raise ImageError(f"the kernel is compressed in a way that is not known here: {payload[:4].hex()}")
    unpacking = [command, "-dc"]
    done = subprocess.run(unpacking, input=payload[:-_SIZE_BYTES], capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise ImageError(f"{command} cannot unpack the kernel: {done.stderr.decode(errors='replace')}")
    return done.stdout


def build() -> list[Path]:
    """Build the ELF file of the kernel of `linux_guest`, and the initramfs for both."""
    kernel, initrd = linux_guest.build()

    def write(target: Path) -> None:
        elf = _decompressed(_payload(kernel.read_bytes()))
        if not elf.startswith(b"\x7fELF"):
            raise ImageError("the payload of the kernel is not an ELF file")
        target.write_bytes(elf)

    return [cached(BUILD / "linux" / "vmlinux", [kernel, *sources()], write), initrd]
