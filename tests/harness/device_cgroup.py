"""The cgroup that decides which devices a container may open, and nodes to try that."""

import os
import stat
from pathlib import Path

from .containers import Container
from .device_programs import cgroup_directory
from .observe import Device, cgroup_lines
from .processes import run

TRY = 'echo $$ >"$1" && echo entered && exec 3<>"$2" && echo opened'


def device_cgroup(pid: int) -> Path:
    """Return the directory of the cgroup of a process."""
    for line in cgroup_lines(pid):
        _, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(",") and path != "/":
            return Path(f"/sys/fs/cgroup/devices{path}")
    return cgroup_directory(pid)


def make_node(container: Container, path: str, device: Device) -> str:
    """Make a node for a device in a container. Return its path outside of the container."""
    node = f"/proc/{container.pid}/root{path}"
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(*device))
    return node


def may_open(container: Container, path: str) -> bool:
    """Return whether a process in the container's cgroup can open its device for reading and writing.

    `Container.opens` has Docker start a process in the container for it, which takes forty times as long.
    """
    procs = device_cgroup(container.pid) / "cgroup.procs"
    tried = run(["sh", "-c", TRY, "sh", str(procs), f"/proc/{container.pid}/root{path}"], check=False)
    assert "entered" in tried.stdout, f"cannot enter {procs.parent}: {tried.stderr}"
    return "opened" in tried.stdout
