"""A root file system of a release, in which commands run on this machine's kernel, at its full speed.

It has what vtapd is built and tested with, installed there by `.ci/need` as on any machine. The repository is at the
same path as outside; .venv and build in it are the release's own. What a command writes into dist or outside of the
repository is removed after it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .base import Base, being_built, build_base, is_current, key_of, mark_current, run_or_fail, stamp_of
from .releases import BUILD, REPOSITORY
from .wheels import download_wheels

TOOLS_S = 900.0
CHECK_S = 600.0
KEPT = ("TERM", "CI", "PYTHONUNBUFFERED", "SOURCE_DATE_EPOCH")
WHEELS = "/srv/wheels"
MAKEFILE, NEED = REPOSITORY / "Makefile", REPOSITORY / ".ci/need"

# $1 root, $2 lower folders, $3 upper, $4 work, $5 dist, $6 repository, $7 own, $8 wheels; then the command.
# /tmp is this machine's, since a Docker keeps its data there. The root is changed by pivot_root, not chroot: containers
# could not be started in a chroot.
ENTER = """
root=$1 dist=$5 repository=$6 own=$7 wheels=$8
mount -t overlay -o "lowerdir=$2,upperdir=$3,workdir=$4" overlay "$root"
for name in dev proc sys tmp; do mount --rbind "/$name" "$root/$name"; done
mount -t tmpfs tmpfs "$root/run"
touch "$root/etc/resolv.conf"
mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
mkdir -p "$root$repository" "$root/srv/wheels"
mount --bind "$repository" "$root$repository"
mkdir -p "$own/.venv" "$own/build" "$repository/.venv" "$repository/build" "$repository/dist"
mount --bind "$own/.venv" "$root$repository/.venv"
mount --bind "$own/build" "$root$repository/build"
mount --bind "$dist" "$root$repository/dist"
mount --bind "$wheels" "$root/srv/wheels"
shift 8
cd "$root"
mkdir -p srv/outside
pivot_root . srv/outside
umount -l /srv/outside
cd "$repository"
exec "$@"
"""


@dataclass(frozen=True)
class Entered:
    """What is put in front of a command that runs in the root, and where its files are outside."""

    prefix: tuple[str, ...]
    written: Path
    dist: Path

    def check(self, *argv: str) -> None:
        """Run a command. A failure is an AssertionError with everything that it printed."""
        run_or_fail(CHECK_S, *self.prefix, *argv, env=environment())


class Root:
    def __init__(self, base: Base) -> None:
        self.base = base

    @property
    def tools(self) -> Path:
        """The files that were installed in addition to the base."""
        return self.base.home / "tools"

    @property
    def wheels(self) -> Path:
        return self.base.home / "wheels"

    @property
    def own(self) -> Path:
        """The folder of what stands in the repository for .venv and build."""
        return BUILD / self.base.release

    def run(self, *argv: str) -> int:
        """Run a command, and return its exit code."""
        with self.entered() as entered:
            return subprocess.run([*entered.prefix, *argv], env=environment(), check=False).returncode

    @contextmanager
    def entered(self, *, bare: bool = False) -> Iterator[Entered]:
        """Yield a root for commands; what they write is removed afterwards. `bare`: without the tools."""
        lower = [self.base.tree] if bare else [self.tools, self.base.tree]
        with TemporaryDirectory(dir=self.base.home) as home:
            root, upper, work, dist = (Path(home) / name for name in ("root", "upper", "work", "dist"))
            for folder in (root, upper, work, dist):
                folder.mkdir()
            upper.chmod(0o755)
            words = (root, ":".join(map(str, lower)), upper, work, dist, REPOSITORY, self.own, self.wheels)
            prefix = ("unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", ENTER, "sh")
            yield Entered((*prefix, *map(str, words)), upper, dist)

    def install_tools(self) -> None:
        """Install what the Makefile names, and make .venv, unless both are there."""
        needs = [line for line in MAKEFILE.read_text().splitlines() if "NEEDS" in line]
        key = key_of(stamp_of(self.base.tree), repr(needs), NEED)
        if is_current(self.tools, key):
            return
        shutil.rmtree(self.tools, ignore_errors=True)
        with self.entered(bare=True) as entered:
            argv = [*entered.prefix, "make", "-s", "need-test", "need-packaging"]
            subprocess.run(argv, env=environment(), timeout=TOOLS_S, check=True)
            entered.written.rename(self.tools)
        mark_current(self.tools, key)


def environment() -> dict[str, str]:
    """Return the environment of commands: of this machine's settings only the terminal's."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_ROOT_USER_ACTION": "ignore"}
    # The machine unpacks the package: xz takes it long, since each instruction is emulated.
    dpkg = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **pip, **dpkg, **kept}


def build_root() -> Root:
    """Return the root of the chosen release, built if need be."""
    with being_built():
        base = build_base()
        root = Root(base)
        download_wheels(base.tree, root.wheels)
        root.install_tools()
    return root


def main() -> int:
    return build_root().run(*sys.argv[1:])
