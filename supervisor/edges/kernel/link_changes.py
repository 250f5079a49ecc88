"""Notice that a link of one network namespace changes (man 7 rtnetlink)."""

import socket
from contextlib import suppress

_RTNLGRP_LINK = 1  # linux/rtnetlink.h
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1  # linux/socket.h, linux/netlink.h
_MESSAGE_BYTES = 1 << 14
_MOST_AT_ONCE = 256


class LinkChanges:
    """Owns the rtnetlink socket that it was given."""

    def __init__(self, netlink: int) -> None:
        self._socket = socket.socket(fileno=netlink)
        self._socket.setblocking(False)
        self._socket.connect((0, 0))  # gives it an address, without which it would receive nothing
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _RTNLGRP_LINK)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def drain(self) -> None:
        """Discard what was reported: what a link is like now is observed. More than it can hold is lost (ENOBUFS)."""
        with suppress(OSError):
            for _ in range(_MOST_AT_ONCE):
                self._socket.recv(_MESSAGE_BYTES)
