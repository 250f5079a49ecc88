"""The ELF file that is compressed within Debian's (or Ubuntu's) bzImage: no package brings it by itself.

Where it is says the boot header (Documentation/arch/x86/boot.rst: payload_offset, payload_length), how it is compressed
its first bytes say. Behind all but gzip's the kernel's build puts four bytes with the size of what is in there.
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
    """The kernel of `linux_guest`, and the initramfs that goes with both."""
    kernel, initrd = linux_guest.build()

    def write(target: Path) -> None:
        elf = _decompressed(_payload(kernel.read_bytes()))
        if not elf.startswith(b"\x7fELF"):
            raise ImageError("what is in the kernel is no ELF file")
        target.write_bytes(elf)

    return [cached(BUILD / "linux" / "vmlinux", [kernel, *sources()], write), initrd]
