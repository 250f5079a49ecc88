"""The machine's disk: a copy of its files, with the packages and the container image added.

dpkg installs the package in the booted machine (service.py). The files of `make install` are added in a folder:
in the emulated machine pip would take three minutes.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images import container
from tests.packaging.building import build_deb, installed_tree, repack

from .base import BUILD, Base, run_or_fail

REPOSITORY = Path(__file__).parents[2]
ADDED = ("Makefile", "config", "systemd", "tests/harness")
INSIDE = "srv/vtapd"  # the repository, in the machine
CONTAINER_IMAGE = "srv/container.tar"
DEB, NEXT_DEB = "srv/vtapd.deb", "srv/vtapd-next.deb"
NEXT_VERSION = "99.0"
MADE = "srv/made"  # what `make install` makes

COPY_S = 60.0
DISK_S = 60.0
DISK_BYTES = 4 << 30  # sparse


def build_disk(base: Base) -> Path:
    """Make an ext4 file system; it is made each time, since it holds the code under test."""
    image = container.build()[0]
    tree, disk = BUILD / "tree", BUILD / "root.img"
    shutil.rmtree(tree, ignore_errors=True)
    run_or_fail(COPY_S, "cp", "-a", str(base.tree), str(tree))
    try:
        for name in ADDED:
            _add(REPOSITORY / name, tree / INSIDE / name)
        _add(image, tree / CONTAINER_IMAGE)
        _add(build_deb(), tree / DEB)
        with TemporaryDirectory() as folder:
            _add(repack(build_deb(), NEXT_VERSION, Path(folder)), tree / NEXT_DEB)
        shutil.copytree(installed_tree(), tree / MADE, symlinks=True)
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        run_or_fail(DISK_S, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", str(tree), str(disk))
    finally:
        shutil.rmtree(tree)
    return disk


def _add(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
