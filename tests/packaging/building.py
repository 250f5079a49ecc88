"""Installs into a folder and builds packages with make, as a maintainer does."""

import os
import re
import stat
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).parents[2]
VERSION: str = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
DEB_VERSION = re.sub(r"\.?(dev|a|b|rc)(\d)", r"~\1\2", VERSION)
"""A pre-release as dpkg sorts it, before its release (man 7 deb-version)."""
MAKE_S = 600.0  # pip downloads from PyPI
DPKG_S = 60.0


def run(*argv: str, timeout_s: float = DPKG_S, **env: str) -> str:
    """Run a command and return its output. A failure is an AssertionError with everything that it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=os.environ | env, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def make(target: str, **variables: str) -> str:
    words = (f"{name}={value}" for name, value in variables.items())
    return run("make", "-s", "-C", str(REPOSITORY), target, *words, timeout_s=MAKE_S)


@cache
def build_deb() -> Path:
    """Build the package, once a session."""
    return REPOSITORY / make("deb").splitlines()[-1]


@cache
def _installed() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    Path(folder.name).chmod(0o755)  # as the folder / that it stands for
    make("install", DESTDIR=folder.name)
    return folder


def installed_tree() -> Path:
    """Return a tree of `make install`, which takes 20 s. It is made once a session: copy it before you change it."""
    return Path(_installed().name)


def repack(deb: Path, version: str, target: Path) -> Path:
    """Repack the package with another version, which its program reports, too."""
    tree = target / "tree"
    run("dpkg-deb", "--raw-extract", str(deb), str(tree))
    metadata = next(tree.glob("usr/lib/vtapd/lib/python*/site-packages/vtapd-*.dist-info/METADATA"))
    for file, current in ((tree / "DEBIAN/control", DEB_VERSION), (metadata, VERSION)):
        file.write_text(file.read_text().replace(f"\nVersion: {current}\n", f"\nVersion: {version}\n", 1))
    package = target / f"vtapd_{version}.deb"
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package))
    return package


def files(tree: Path) -> dict[str, str]:
    """Return each path below, with its type and mode as ls shows them; system folders are left out."""
    found = {}
    for path in sorted(tree.rglob("*")):
        if not path.is_dir() or path.is_symlink() or "vtapd" in path.parts[len(tree.parts) :]:
            found[f"/{path.relative_to(tree)}"] = stat.filemode(path.lstat().st_mode)
    return found


def outside(found: dict[str, str], home: str) -> dict[str, str]:
    """Leave out the program's own environment."""
    return {path: mode for path, mode in found.items() if not path.startswith(f"{home}/")}


def manual_pages() -> list[str]:
    """Return the path of each page beneath share/man."""
    names = [path.name.removesuffix(".md") for path in (REPOSITORY / "supervisor" / "man").glob("*.md")]
    return [f"man{name.rpartition('.')[2]}/{name}" for name in sorted(names)]
