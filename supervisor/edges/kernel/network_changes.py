"""Notice that anything has changed in the network of one namespace (man 7 rtnetlink).

The kernel reports each change of links, addresses, routes, neighbours, qdiscs and their filters. Only that there was
one is known: what is there now is observed.
"""

import errno
import socket
from typing import Final

_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1  # linux/socket.h, linux/netlink.h
_GROUPS: Final = (1, 3, 4, 5, 7, 9, 11, 32)
"""RTNLGRP_ LINK, NEIGH, TC, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, NEXTHOP of linux/rtnetlink.h."""
_QUEUE_BYTES = 1
"""The kernel's least is enough: that messages were lost (ENOBUFS) says as much as they do."""
_MOST_AT_ONCE = 64


class NetworkChanges:
    """Owns the rtnetlink socket that it was given. Nothing is woken by it."""

    __slots__ = ("_socket",)

    def __init__(self, netlink: int) -> None:
        self._socket = socket.socket(fileno=netlink)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        self._socket.connect((0, 0))  # gives it an address, without which it would receive nothing
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        self._socket.close()

    def happened(self) -> bool:
        """Return whether anything has changed since the last call."""
        for count in range(_MOST_AT_ONCE):
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return count > 0
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        return True
