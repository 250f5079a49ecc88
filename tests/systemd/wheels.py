"""The Python packages that vtapd is built and tested with, as files for the Python of a release.

This machine's pip downloads them, since it knows the index; in the release's root, pip uses nothing else.
"""

import re
import shutil
import sys
from pathlib import Path

from .base import is_current, key_of, mark_current, run_or_fail
from .releases import REPOSITORY

DOWNLOAD_S = 600.0
BUILDERS = ("hatchling>=1.25", "editables~=0.3", "pip>=25.1", "setuptools", "wheel")
"""What pip builds the package with (pyproject.toml), and pip itself."""


def download_wheels(tree: Path, folder: Path) -> None:
    """Download the packages for the Python in this tree, unless they are there."""
    pinned = REPOSITORY / "systemd/constraints.txt"
    key = key_of(repr(BUILDERS), REPOSITORY / "pyproject.toml", pinned)
    if is_current(folder, key):
        return
    shutil.rmtree(folder, ignore_errors=True)
    words = ("--only-binary=:all:", f"--python-version={_python(tree)}", f"--dest={folder}")
    download = (sys.executable, "-m", "pip", "download", "-q", *words)
    run_or_fail(DOWNLOAD_S, *download, "--require-hashes", "-r", str(pinned))
    group, versions = f"{REPOSITORY / 'pyproject.toml'}:dev", _without_hashes(pinned, folder)
    run_or_fail(DOWNLOAD_S, *download, "--group", group, "-c", str(versions), *BUILDERS)
    mark_current(folder, key)


def _python(tree: Path) -> str:
    """Return the version of the tree's Python, as 3.13."""
    program = (tree / "usr/bin/python3").readlink().name
    return program.removeprefix("python")


def _without_hashes(pinned: Path, folder: Path) -> Path:
    versions = folder / "versions.txt"
    versions.write_text("\n".join(re.findall(r"^[\w.-]+==[^\s\\]+", pinned.read_text(), re.MULTILINE)))
    return versions
