"""Read a kernel's modules, from the folder where its package has them."""

import gzip
import lzma
import subprocess
import zlib
from pathlib import Path

from supervisor.errors import Permanent, Step

_ZSTD_S = 60.0
_HEAD_BYTES = 65536
_WHERE = ("lib/modules", "usr/lib/modules")


def read_head(kernel: Path) -> bytes:
    """Return the beginning of a kernel, with its header. Raises Permanent if it cannot be read."""
    try:
        with kernel.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise Permanent(
            f"cannot read kernel {kernel}: {error.strerror}",
            step=Step.KERNEL,
            remedy="name a kernel that you may read",
        ) from error


def find_modules(kernel: Path, version: str) -> dict[str, Path] | None:
    """Return the files of the kernel's modules by their paths below lib/modules/VERSION.

    They are next to the folder in which the kernel is, as /boot and /lib, or they are this machine's. Returns None if
    they are in neither place.
    """
    for root in (kernel.resolve().parent.parent, Path("/")):
        for where in _WHERE:
            folder = root / where / version
            if folder.is_dir():
                return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return None


def read_module(name: str, path: Path) -> bytes:
    """Return the content of a module whose file has this name, decompressed. Raises Permanent if that fails."""
    try:
        content = path.read_bytes()
        match Path(name).suffix:
            case ".xz":
                return lzma.decompress(content)
            case ".gz":
                return gzip.decompress(content)
            case ".zst":
                return subprocess.run(
                    ["zstd", "-dc"], input=content, capture_output=True, timeout=_ZSTD_S, check=True
                ).stdout
            case _:
                return content
    except FileNotFoundError as error:
        raise Permanent(
            f"cannot decompress kernel module {name}: there is no {error.filename}",
            step=Step.KERNEL,
            remedy="install zstd",
        ) from error
    except (OSError, lzma.LZMAError, zlib.error, EOFError, subprocess.SubprocessError) as error:
        raise Permanent(f"cannot read kernel module {name}: {error}", step=Step.KERNEL) from error
