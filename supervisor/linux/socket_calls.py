"""Receive descriptors; and the request by which sockets are asked about interfaces."""

import array
import errno
import os
import socket
import struct

IFREQ = struct.Struct("=16s24s")  # linux/if.h: struct ifreq on 64-bit machines, a name and a union
_INT_BYTES = 4


def receive_descriptors(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Return a packet and the descriptors that came with it, close-on-exec; the caller owns them.

    Raises OSError, and leaves none open, if not all of them arrived. Python's own socket.recv_fds takes flags, but
    before 3.13 it does not use them.
    """
    room = socket.CMSG_SPACE(most * _INT_BYTES)
    packet, ancillary, flags, _ = connection.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    if flags & socket.MSG_CTRUNC:  # this process has no number left for one of them
        for descriptor in found:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return packet, list(found)
