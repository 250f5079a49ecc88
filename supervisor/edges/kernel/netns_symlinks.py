"""The symlinks /var/run/netns/ID, by which `ip netns exec` finds a container's network namespace."""

import os
import re
from contextlib import suppress
from pathlib import Path

from supervisor.core.model import Pid
from supervisor.errors import Permanent, Step

NETNS_DIR = Path("/var/run/netns")
_NAME = re.compile(r"[0-9a-f]{12}")
_TARGET = re.compile(r"/proc/(\d+)/ns/net")


def observe_symlink(name: str) -> Pid | None:
    """Return the process whose namespace this symlink leads to, or None if there is no symlink like vtapd's."""
    try:
        target = os.readlink(f"{NETNS_DIR}/{name}")  # noqa: PTH115  # every observation does it; a Path takes twice as long
    except OSError:
        return None
    match = _TARGET.fullmatch(target)
    return Pid(int(match[1])) if match else None


def create_symlink(name: str, pid: Pid) -> None:
    """Create the symlink, or let it lead to this process. Raises Permanent if something else has the name.

    It is not created under another name and renamed: if the daemon were killed between, that one would stay for ever.
    """
    path = f"{NETNS_DIR}/{name}"
    if observe_symlink(name) is None and os.path.lexists(path):
        raise Permanent(f"{path} exists and is not vtapd's", step=Step.NETNS, remedy=f"remove it: ip netns del {name}")
    try:
        with suppress(FileExistsError):
            NETNS_DIR.mkdir()
            NETNS_DIR.chmod(0o755)  # whatever the umask is: other programs use it too
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # an attach waits for it; a Path takes longer
        os.symlink(f"/proc/{pid}/ns/net", path)  # noqa: PTH211  # an attach waits for it; a Path takes longer
    except OSError as error:
        raise Permanent(
            f"cannot link {path}: {error.strerror}", step=Step.NETNS, remedy=f"make {NETNS_DIR} writable"
        ) from error


def remove_symlink(name: str) -> None:
    """Remove the symlink, if it is there."""
    (NETNS_DIR / name).unlink(missing_ok=True)


def remove_dangling() -> None:
    """Remove the symlinks like those of `create_symlink` whose process has ended."""
    if not NETNS_DIR.is_dir():
        return
    for path in NETNS_DIR.iterdir():
        if _NAME.fullmatch(path.name) and observe_symlink(path.name) is not None and not path.exists():
            path.unlink(missing_ok=True)
