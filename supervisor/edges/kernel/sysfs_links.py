"""Read what a link hangs on, from a sysfs of its network namespace, without waiting for RTNL.

(Documentation/ABI/testing/sysfs-class-net)
"""

import os

from supervisor.core.links import IfIndex
from supervisor.linux.file_calls import read_record


def observe_other_end(sysfs: int, name: str) -> IfIndex | None:
    """Return the ifindex of a veth's peer, or of the link that this one was created on; its own if it has neither.

    The number is that of the namespace in which the other end is. None if the link is gone.
    """
    try:
        return IfIndex(int(read_record(f"class/net/{name}/iflink", sysfs)))
    except (OSError, ValueError):
        return None


def is_port(sysfs: int, name: str) -> bool:
    """Return whether the link is a port of a bridge or the like."""
    try:
        os.readlink(f"class/net/{name}/master", dir_fd=sysfs)
    except OSError:
        return False
    return True
