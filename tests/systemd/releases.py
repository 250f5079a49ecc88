"""Debian's and Ubuntu's releases: which one is tested, and where its packages come from.

The package sources of another release are those of this machine, with its codename replaced.
"""

import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build" / "systemd"
FOLDER = Path(os.environ.get("BASES") or BUILD).absolute()
"""What is built of releases alone stays here until an input changes. Several clones of the repository can share it."""
APT = Path("/etc/apt")
DEFAULT = "bookworm"
POCKETS = r"(?:-updates|-security|-backports|-proposed-updates)?"


def own_release() -> str:
    """Return the codename of this machine's release."""
    lines = Path("/etc/os-release").read_text().splitlines()
    named = (line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME="))
    return next(named, DEFAULT)


def chosen_release() -> str:
    """Return the codename that RELEASE names, or that of this machine."""
    return os.environ.get("RELEASE") or own_release()


def write_sources(release: str, folder: Path) -> list[Path]:
    """Write package sources of a release, in the two formats of man 5 sources.list."""
    found = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    written = []
    for suffix, separator, ends in ((".list", "\n", "\n"), (".sources", "\n\n", "\n\n")):
        texts = [path.read_text() for path in found if path.suffix == suffix and path.is_file()]
        entries = [entry for text in texts for entry in re.split(rf"{separator}+", text)]
        if moved := [changed for entry in entries if (changed := moved_to(release, own_release(), entry))]:
            target = folder / f"release{suffix}"
            target.write_text("".join(f"{entry}{ends}" for entry in moved))
            written.append(target)
    assert written, f"no package source of {own_release()} in {APT}, so there is none to derive those of {release} from"
    return written


def moved_to(release: str, own: str, entry: str) -> str:
    """Return one source of packages for another release. It is empty if this is no source of the machine's release."""
    lines = [line for line in entry.splitlines() if not line.startswith("#")]
    suite = re.compile(rf"(?<=[\s\]]){own}(?={POCKETS}(?:\s|$))")
    of_suites = [number for number, line in enumerate(lines) if re.match(r"deb\s|Suites:", line) and suite.search(line)]
    for number in of_suites:
        lines[number] = suite.sub(release, lines[number])
    return "\n".join(lines) if of_suites else ""
