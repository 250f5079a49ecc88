"""The symlinks /var/run/netns/ID, by which `ip netns exec` finds a container's network namespace.

Administrators and other programs make such symlinks too. So each of vtapd's has an extended attribute with the
run-time folder of the daemon that made it. It is needed only for a symlink whose record was lost: without the
attribute, or on a file system that has none, such a symlink stays.
"""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.errors import Permanent, Step

NETNS_DIR = Path("/var/run/netns")
_TARGET = re.compile(r"/proc/(\d+)/ns/net")
_MARK = "trusted.vtapd"
"""Only a process with CAP_SYS_ADMIN on the host can set or read it (man 7 xattr)."""


def observe_symlink(name: str) -> Pid | None:
    """Return the process whose namespace this symlink leads to, or None if there is no symlink like vtapd's."""
    try:
        target = os.readlink(NETNS_DIR / name)  # noqa: PTH115  # a Path is normalised; this must be vtapd's to the letter
    except OSError:
        return None
    match = _TARGET.fullmatch(target)
    return Pid(int(match[1])) if match else None


def create_symlink(name: str, pid: Pid, owner: str) -> None:
    """Create the symlink, or let it lead to this process. Raises Permanent if something else has the name.

    `owner` is the daemon's run-time folder.

    It is not created under another name and renamed: if the daemon were killed between, that one would stay for ever.
    """
    path = NETNS_DIR / name
    if observe_symlink(name) is None and os.path.lexists(path):
        raise Permanent(f"{path} exists and is not vtapd's", step=Step.NETNS, remedy=f"remove it: ip netns del {name}")
    try:
        with suppress(FileExistsError):
            NETNS_DIR.mkdir()
            NETNS_DIR.chmod(0o755)  # whatever the umask is: other programs use it too
        path.unlink(missing_ok=True)
        path.symlink_to(f"/proc/{pid}/ns/net")
    except OSError as error:
        raise Permanent(
            f"cannot link {path}: {error.strerror}", step=Step.NETNS, remedy=f"make {NETNS_DIR} writable"
        ) from error
    with suppress(OSError):  # it was removed again, or this file system has no such attributes
        os.setxattr(path, _MARK, owner.encode(), follow_symlinks=False)


def remove_symlink(name: str) -> None:
    """Remove the symlink, if it is there."""
    (NETNS_DIR / name).unlink(missing_ok=True)


def sweep(owner: str, known: Collection[str]) -> None:
    """Remove the symlinks of other names than these that a daemon of this run-time folder made."""
    if not NETNS_DIR.is_dir():
        return
    for path in NETNS_DIR.iterdir():
        if path.name not in known and path.is_symlink() and _owner_of(path) == owner:
            path.unlink(missing_ok=True)


def _owner_of(path: Path) -> str | None:
    try:
        return os.getxattr(path, _MARK, follow_symlinks=False).decode("utf-8", "replace")
    except OSError:
        return None
