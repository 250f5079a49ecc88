"""Find the directories of a process's cgroups, from files of /proc (man 7 cgroups, man 5 proc)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One container's cgroup: its directory under each hierarchy that is mounted."""

    v1: Mapping[str, str]
    """Controller → directory."""
    v2: str | None

    @property
    def scope(self) -> str | None:
        """The systemd unit of this cgroup, with Docker's systemd driver."""
        name = (self.v2 or "").rpartition("/")[2]
        return name if name.endswith(".scope") else None

    @property
    def path(self) -> str:
        """The directory that has the device rules, for people."""
        return self.v1.get("devices") or self.v2 or ""

    def directories_of_qemu(self, accel: str, *, started: bool) -> tuple[str, ...]:
        """What QEMU is moved into, so that it is paused, limited, counted and killed with the container.

        With KVM it opens /dev/kvm, which the container may not. So it stays out of v1's devices controller; v2 has no
        such hierarchy apart, and QEMU is let in once it has `started`: what is open is never checked again.
        """
        kvm = accel == "kvm"
        v1 = [directory for controller, directory in self.v1.items() if not (kvm and controller == "devices")]
        v2 = [self.v2] if self.v2 and (started or not kvm or "devices" in self.v1) else []
        return tuple(dict.fromkeys((*v1, *v2)))


Mounts = Mapping[str, Sequence[tuple[str, str]]]
"""By controller (empty for v2): where it is mounted, and which cgroup is the root of that mount."""


def parse_cgroup(proc_cgroup: str, mounts: Mounts) -> Cgroup:
    """Return the cgroup in /proc/<pid>/cgroup of a container, with the mounts of the daemon."""
    v1: dict[str, str] = {}
    v2: str | None = None
    for line in proc_cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if path == "/":
            continue  # the container has no cgroup in this hierarchy, whose root is the whole machine
        if not controllers:
            v2 = _join(mounts.get("", []), path)
            continue
        for controller in controllers.split(","):
            directory = _join(mounts.get(controller, []), path)
            if directory:
                v1[controller] = directory
    return Cgroup(v1, v2)


def services_of(proc_cgroup: str) -> tuple[str, ...]:
    """Return the systemd service in /proc/<pid>/cgroup, if the process is in one."""
    names = {line.rpartition("/")[2] for line in proc_cgroup.splitlines()}
    return tuple(sorted(name for name in names if name.endswith(".service")))


def file_system_of(mountinfo: str, path: str) -> str:
    """Return the type of the file system that an absolute path is on. Of mounts on one point, the last counts."""
    kind, longest = "", 0
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = _unescape(fields[4]).rstrip("/") + "/"
        if (path + "/").startswith(point) and len(point) >= longest:
            kind, longest = fields[fields.index("-") + 1], len(point)
    return kind


def file_system_with(mountinfo: str, mount_id: str) -> str | None:
    """Return the type of the file system of the mount with this number; None if it is not mounted there."""
    lines = (line.split(" ") for line in mountinfo.splitlines())
    return next((fields[fields.index("-") + 1] for fields in lines if fields[0] == mount_id), None)


def mount_of(mounts: Mounts, controller: str) -> str | None:
    """Return where the hierarchy of a v1 controller, or of v2 for "", is mounted."""
    found = mounts.get(controller, [])
    return found[0][0] if found else None


def parse_mounts(mountinfo: str) -> Mounts:
    """Return the mounts of cgroup hierarchies in /proc/self/mountinfo."""
    mounts: dict[str, list[tuple[str, str]]] = {}
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue  # of another file system: each container has several, and there may be hundreds of containers
        fields = line.split(" ")
        dash = fields.index("-")
        root, point, kind = _unescape(fields[3]), _unescape(fields[4]), fields[dash + 1]
        controllers = {"cgroup2": [""], "cgroup": fields[dash + 3].split(",")}.get(kind, [])
        for controller in controllers:
            mounts.setdefault(controller, []).append((point, root))
    return mounts


def _join(mounts: Sequence[tuple[str, str]], path: str) -> str | None:
    """Return the directory of a cgroup in the first mount that shows it."""
    for point, root in mounts:
        below = path if root == "/" else path.removeprefix(root)
        if root == "/" or (below != path and below[:1] in ("", "/")):
            return point + below
    return None


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
