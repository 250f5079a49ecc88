"""The machine's disk: a copy of its files in which `make install` has run, with the repository and a container image.

`make install` runs before the machine boots, in its tree and with its Python, which is how an image is built that has
the service: in the booted machine, where every instruction is emulated, pip takes three minutes. What it leaves for the
boot is asked for there, in service.py.
"""

import os
import shutil
import sys
import tomllib
from pathlib import Path

from tests.images import container

from .base import BUILD, Base, run_or_fail

REPOSITORY = Path(__file__).parents[2]
BROUGHT = (
    *("Makefile", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"),
    *(".ci", "config", "supervisor", "systemd", "tests/integration"),
)
INSIDE = "srv/vtapd"  # the repository, in the machine
CONTAINER_IMAGE = "srv/container.tar"
WHEELS = "srv/wheels"

COPY_S = 60.0
DOWNLOAD_S = 120.0
INSTALL_S = 120.0
DISK_S = 60.0
DISK_BYTES = 4 << 30  # sparse


def build_disk(base: Base) -> Path:
    """An ext4 file system, made anew each time: it holds the code under test."""
    wheels, image = _wheels(base.python), container.build()[0]
    tree, disk = BUILD / "tree", BUILD / "root.img"
    shutil.rmtree(tree, ignore_errors=True)
    run_or_fail(COPY_S, "cp", "-a", str(base.tree), str(tree))
    try:
        for name in BROUGHT:
            _bring(REPOSITORY / name, tree / INSIDE / name)
        _bring(wheels, tree / WHEELS)
        _bring(image, tree / CONTAINER_IMAGE)
        _install(tree)
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        run_or_fail(DISK_S, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", str(tree), str(disk))
    finally:
        shutil.rmtree(tree)
    return disk


def _bring(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _wheels(python: str) -> Path:
    """All that pip needs to build and to install the wheel without a network, for the machine's Python."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    folder, stamp = BUILD / "wheels", BUILD / "wheels" / "made-from"
    key = "\n".join([python, *wanted])
    if stamp.exists() and stamp.read_text() == key:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
    run_or_fail(DOWNLOAD_S, *pip, f"--python-version={python}", "--dest", str(folder), *wanted)
    stamp.write_text(key)
    return folder


def _install(tree: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env = kept | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"/{WHEELS}",
        "PIP_NO_CACHE_DIR": "1",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
    }
    run_or_fail(INSTALL_S, "chroot", str(tree), "make", "-s", "-C", f"/{INSIDE}", "install", env=env)
