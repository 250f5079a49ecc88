"""The virtiofsd program: where it is, and which of the two programs of this name it is."""

from dataclasses import dataclass
from pathlib import Path

_PLACES = (("/usr/libexec/virtiofsd", True), ("/usr/lib/qemu/virtiofsd", False))
"""The newer one, written in Rust (package virtiofsd: Debian 13, Ubuntu 24.04), and that of QEMU before 8.0, written in
C (in QEMU's packages: Debian 12, Ubuntu 22.04). Only the latter has an option that lets guests cache no metadata."""
INSTALL = "install virtiofsd (a package of this name; before Debian 13 and Ubuntu 24.04 it comes with QEMU)"


@dataclass(frozen=True, slots=True)
class Virtiofsd:
    """A program that serves one folder to one guest."""

    path: str
    caches_metadata: bool


def find_virtiofsd() -> Virtiofsd | None:
    """Return the machine's program, or None if there is none."""
    found = (Virtiofsd(place, caches_metadata) for place, caches_metadata in _PLACES if Path(place).is_file())
    return next(found, None)
