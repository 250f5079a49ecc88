"""A guest that does not know vtapd, of a kind that vtapd does not know: Debian's iPXE, a firmware with a network
stack. It has Linux's boot header, and takes its script as an initrd."""

import shutil
from pathlib import Path

from .cache import BUILD, ImageError, cached, sources
from .packages import unpacked


def build() -> list[Path]:
    def write(target: Path) -> None:
        found = sorted(unpacked("ipxe").glob("**/ipxe.lkrn"))
        if not found:
            raise ImageError("package ipxe holds no ipxe.lkrn")
        shutil.copyfile(found[0].resolve(), target)

    return [cached(BUILD / "ipxe.lkrn", sources(), write)]
