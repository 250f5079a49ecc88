"""The machine's second disk: what service.py installs in the booted machine, and the container image.

The packages are built on the machine's release (root.py). The files of `make install` are added in a folder: in the
emulated machine pip would take three minutes.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images import container
from tests.packaging.building import repack

from .base import make_disk
from .releases import REPOSITORY
from .root import Root

PLACE = "srv"  # where the machine mounts it
ADDED = ("Makefile", "config", "systemd", "tests/harness")
INSIDE = f"{PLACE}/vtapd"  # the repository, in the machine
CONTAINER_IMAGE = f"{PLACE}/container.tar"
DEB, NEXT_DEB = f"{PLACE}/vtapd.deb", f"{PLACE}/vtapd-next.deb"
NEXT_VERSION = "99.0"
MADE = f"{PLACE}/made"  # what `make install` makes


def build_disk(root: Root, disk: Path) -> None:
    """Make an ext4 file system; it is made each time, since it holds the code under test."""
    image = container.build()[0]
    with TemporaryDirectory(dir=root.base.home) as folder, root.entered() as entered:
        entered.check("make", "-s", "deb", "install", f"DESTDIR={REPOSITORY / 'dist/made'}")
        (deb,) = entered.dist.glob("*.deb")
        tree = Path(folder)
        for name in ADDED:
            _add(REPOSITORY / name, tree / Path(INSIDE).name / name)
        _add(image, tree / Path(CONTAINER_IMAGE).name)
        _add(deb, tree / Path(DEB).name)
        with TemporaryDirectory() as unpacked:
            _add(repack(deb, NEXT_VERSION, Path(unpacked)), tree / Path(NEXT_DEB).name)
        (entered.dist / "made").rename(tree / Path(MADE).name)
        tree.chmod(0o755)
        make_disk(tree, disk)


def _add(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
