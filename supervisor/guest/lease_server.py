"""Answer the DHCP messages of one card of a guest, which is given what its container had on that interface."""

import socket
from collections.abc import Callable

import anyio
import structlog

from supervisor.core.formats import dhcp, udp
from supervisor.core.guest.name_lookup import Bucket
from supervisor.edges.kernel import link_sockets

_CLIENT_PORT = 68
_PER_S, _BURST = 20.0, 50.0
_PACKET_BYTES = 1500
_KINDS = {dhcp.OFFER: "offer", dhcp.ACK: "ack", dhcp.NAK: "nak"}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LeaseServer:
    """Answers what comes to a packet socket, which stays the caller's."""

    def __init__(
        self, packets: socket.socket, interface: str, mac: str, find_lease: Callable[[], dhcp.Lease | None]
    ) -> None:
        """`mac`: the guest's. `find_lease` returns what it is given now; None if it is to be given nothing."""
        self._packets = packets
        self._interface = interface
        self._mac = mac
        self._find_lease = find_lease
        self._bucket = Bucket(_PER_S, _BURST)

    async def run(self) -> None:
        """Serve until no message waits. Raises Transient if the interface is gone."""
        while received := link_sockets.receive_packet(self._packets, _PACKET_BYTES):
            self._answer(*received)
            await anyio.sleep(self._bucket.wait_s(anyio.current_time()))

    def _answer(self, packet: bytes, sender: str) -> None:
        datagram = udp.parse_packet(packet)
        request = dhcp.parse_request(datagram.payload) if datagram else None
        if request is None or sender != self._mac or request.mac.hex(":") != self._mac:
            return
        lease = self._find_lease()
        reply = dhcp.reply(request, lease) if lease else None
        if lease is None or reply is None:
            return
        answer = udp.Datagram(lease.server, link_sockets.DHCP_SERVER_PORT, reply.to, _CLIENT_PORT, reply.message)
        link_sockets.send_packet(self._packets, self._interface, self._mac, udp.format_packet(answer))
        log.debug("dhcp_answered", interface=self._interface, kind=_KINDS[reply.kind])
