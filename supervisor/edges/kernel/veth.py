"""Make a veth pair by pyroute2, for the trial of `vtapd check`. The only module that uses it.

An attach does not: pyroute2 sets up an event loop for each namespace, which takes ten times as long as the rest of it.
So it is imported when it is first needed.
"""

import errno
import os

from supervisor.errors import Step, Transient


async def create_pair(netlink: int, name: str, peer: str) -> None:
    """Create a veth and its other end, both in the namespace of this rtnetlink socket, which stays the caller's.

    Raises Transient if the kernel refuses it, or if pyroute2 cannot be imported.
    """
    try:
        from pyroute2 import AsyncIPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:  # a package is replacing its files
        raise Transient(f"cannot import pyroute2: {error}", step=Step.VETH) from error
    pyroute = AsyncIPRoute(fileno=os.dup(netlink), ext_ack=True)
    try:
        await pyroute.link("add", ifname=name, kind="veth", peer={"ifname": peer})
    except NetlinkError as error:
        said = os.strerror(error.code) if error.code in errno.errorcode else str(error)
        raise Transient(f"cannot create {name}: {said}", step=Step.VETH) from error
    finally:
        pyroute.close()
