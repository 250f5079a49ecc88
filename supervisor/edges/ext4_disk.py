"""Make an ext4 disk image by e2fsprogs: mke2fs(8) makes an empty one, and debugfs(8) fills it. Neither needs root."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from supervisor.core.guest.root_disk import BLOCK_BYTES, DiskSize
from supervisor.errors import Permanent, Step

PROGRAMS = ("mke2fs", "debugfs")
INSTALL = "install e2fsprogs"
_PATH = "/usr/sbin:/sbin"
"""Where they are; the PATH of a user who is not root often lacks it."""
_LONGEST_S = 3600.0
_SHOWN_LINES = 3


def find_program(name: str) -> str | None:
    """Return the path of a program of e2fsprogs, or None if there is none."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), _PATH))
    places = (Path(folder) / name for folder in folders.split(os.pathsep) if folder)
    return next((str(place) for place in places if os.access(place, os.X_OK)), None)


def make_disk(disk: Path, size: DiskSize, commands: Iterable[str]) -> None:
    """Make a disk image and run debugfs's commands on it. Raises Permanent if that fails."""
    script = disk.with_name(f"{disk.name}.debugfs")
    try:
        with disk.open("xb") as file:
            file.truncate(size.bytes)
        with script.open("w", encoding="utf-8", errors="surrogateescape") as lines:
            lines.writelines(f"{command}\n" for command in commands)
        options = ["-q", "-F", "-t", "ext4", "-b", str(BLOCK_BYTES), "-m", "0", "-N", str(size.inodes)]
        extended = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
        _run("mke2fs", *options, "-E", extended, str(disk))
        said = _run("debugfs", "-w", "-f", str(script), str(disk))
        script.unlink()
    except OSError as error:
        raise Permanent(
            f"cannot make the root disk {disk}: {error.strerror}",
            step=Step.ROOTFS,
            remedy="leave room for it in the folder for temporary files (TMPDIR)",
        ) from error
    problems = [line for line in said.splitlines() if not line.startswith("debugfs ")]  # its first line: the version
    if problems:
        shown = "; ".join(problems[:_SHOWN_LINES])
        raise Permanent(
            f"debugfs cannot put the image's files on the root disk: {shown}",
            step=Step.ROOTFS,
            remedy="give the disk more room by --size",
        )


def _run(name: str, *arguments: str) -> str:
    """Run a program and return what it printed as errors. Raises Permanent if it fails or is not there."""
    program = find_program(name)
    if program is None:
        raise Permanent(f"there is no {name}, which makes the root disk", step=Step.ROOTFS, remedy=INSTALL)
    done = subprocess.run(
        [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        timeout=_LONGEST_S, check=False, env={"PATH": os.defpath, "LC_ALL": "C", "DEBUGFS_PAGER": "cat"},
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        raise Permanent(f"{name} failed: {said.strip()}", step=Step.ROOTFS)
    return said
