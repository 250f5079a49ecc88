"""Count the packets of a guest that keep it awake, without being woken by each of them.

A packet socket (man 7 packet) on the guest's tap has room for hardly a frame. The kernel counts what its filter takes,
whether it has room for it or not, and is asked for the count now and then.
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

from supervisor.core.devices.idle_filter import build_idle_filter
from supervisor.errors import ContainerGone, Step

_ETH_P_ALL = 0x0003  # linux/if_ether.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/socket.h, linux/if_packet.h
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: those taken, and those of them without room
_INSTRUCTION_BYTES = 8


class PacketCounter:
    """The packets on one tap, in the network namespace that the calling thread is in. `close` it."""

    def __init__(self, tap: str, probes: Sequence[int] = ()) -> None:
        """Raises ContainerGone if the tap is gone. `probes`: as in `leave_out`."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self.leave_out(probes)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least that the kernel allows
            self._socket.bind((tap, _ETH_P_ALL))  # it counts nothing before
        except OSError as error:
            self._socket.close()
            raise ContainerGone(f"cannot count the packets on {tap}: {error.strerror}", step=Step.SLEEP) from error

    def close(self) -> None:
        self._socket.close()

    def leave_out(self, probes: Sequence[int]) -> None:
        """From now on, count no packet with one of these TCP ports or echo identifiers, and those before count again.

        Raises OSError if the kernel has no memory for the filter.
        """
        code = build_idle_filter(probes)
        program = ctypes.create_string_buffer(code, len(code))
        fprog = struct.pack("@HP", len(code) // _INSTRUCTION_BYTES, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)

    def take(self) -> int:
        """Return how many packets there were since the last call."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        taken: int = _STATISTICS.unpack(statistics)[0]
        return taken
