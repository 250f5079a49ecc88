"""Notice that a link of one network namespace changes, or is gone: deleted, or moved elsewhere (man 7 rtnetlink)."""

import ctypes
import errno
import socket
import struct
import sys
from contextlib import suppress

from supervisor.core.formats.netlink import HEADER_KIND_OFFSET, unpack
from supervisor.core.formats.rtnetlink import IFINFOMSG
from supervisor.core.links import IfIndex

_RTM_DELLINK, _RTNLGRP_LINK = 17, 1  # linux/rtnetlink.h
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1  # linux/socket.h, linux/netlink.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_MESSAGE_BYTES = 1 << 14
_MOST_AT_ONCE = 256

# linux/filter.h: struct sock_filter is code, jt, jf, k. Such a program loads numbers in network byte order.
_KIND = int.from_bytes(_RTM_DELLINK.to_bytes(2, sys.byteorder), "big")
_ONLY_DELETED = struct.pack(
    "=HBBIHBBIHBBIHBBI",
    *(0x28, 0, 0, HEADER_KIND_OFFSET),  # BPF_LD | BPF_H | BPF_ABS
    *(0x15, 0, 1, _KIND),  # BPF_JMP | BPF_JEQ | BPF_K
    *(0x06, 0, 0, 0xFFFFFFFF),  # BPF_RET: take it
    *(0x06, 0, 0, 0),  # BPF_RET: drop it
)
_instructions = ctypes.create_string_buffer(_ONLY_DELETED, len(_ONLY_DELETED))
_FILTER = struct.pack("@HP", len(_ONLY_DELETED) // 8, ctypes.addressof(_instructions))  # struct sock_fprog


class _LinkSocket:
    """Owns the rtnetlink socket that it was given, and gets what the kernel reports of links."""

    def __init__(self, netlink: int, socket_filter: bytes = b"") -> None:
        self._socket = socket.socket(fileno=netlink)
        self._socket.setblocking(False)
        if socket_filter:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, socket_filter)
        self._socket.connect((0, 0))  # gives it an address, without which it would receive nothing
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _RTNLGRP_LINK)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class LinkChanges(_LinkSocket):
    """All changes of links. Only that there was one is known."""

    def drain(self) -> None:
        """Discard what was reported: what a link is like now is observed. More than it can hold is lost (ENOBUFS)."""
        with suppress(OSError):
            for _ in range(_MOST_AT_ONCE):
                self._socket.recv(_MESSAGE_BYTES)


class LinkEvents(_LinkSocket):
    """Links that are gone. The kernel drops all other messages before they use memory."""

    def __init__(self, netlink: int) -> None:
        super().__init__(netlink, _FILTER)

    def read(self) -> frozenset[IfIndex] | None:
        """Return the links that are gone since the last call; None if there were too many, so that any may be gone."""
        gone: set[IfIndex] = set()
        for _ in range(_MOST_AT_ONCE):
            try:
                received = self._socket.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return frozenset(gone)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            for _kind, _flags, _sequence, payload in unpack(received):
                if len(payload) >= IFINFOMSG.size:
                    gone.add(IfIndex(IFINFOMSG.unpack_from(payload)[2]))
        return frozenset(gone)
