"""Probe a guest from a macvlan next to its own link, in the container's namespace: the host may have no way in.

The caller creates the macvlan for one probe, and deletes it afterwards.
"""

import asyncio
import os
import socket
from collections.abc import Callable

import anyio

from supervisor.core.formats.frames import Target, arp_probe, is_arp_reply, is_syn_ack, tcp_syn
from supervisor.errors import Step, Transient

_ETH_P_ALL = 0x0003  # linux/if_ether.h
_FRAME_BYTES = 128
"""Enough of a frame to recognise an answer."""


def open_packets() -> socket.socket:
    """Open a packet socket (man 7 packet) in this thread's network namespace. The caller owns it."""
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    except OSError as error:
        raise Transient(f"cannot receive packets next to the guest: {error.strerror}", step=Step.HEALTH) from error


async def has_address(packets: socket.socket, link: str, mac: str, target: Target, timeout_s: float) -> bool:
    """Return whether the target answers an ARP probe. `link` and `mac` are the macvlan's."""
    with anyio.move_on_after(timeout_s):
        _send(packets, link, arp_probe(mac, target))
        while not is_arp_reply(await _receive(packets), target):
            pass
        return True
    return False


async def accepts_tcp(
    packets: socket.socket,
    link: str,
    mac: str,
    target: Target,
    port: int,
    gateway: str,
    timeout_s: float,
    announce: Callable[[int], None],
) -> bool:
    """Return whether the target accepts a connection that its gateway seems to open.

    `announce` is called with the source port before anything is sent.
    """
    random = os.urandom(6)
    source_port, sequence = 0xC000 | int.from_bytes(random[:2], "big") & 0x3FFF, int.from_bytes(random[2:], "big")
    announce(source_port)
    with anyio.move_on_after(timeout_s):
        _send(packets, link, tcp_syn(mac, gateway, source_port, target, port, sequence))
        while not is_syn_ack(await _receive(packets), source_port, target, port, sequence):
            pass
        return True
    return False


def _send(packets: socket.socket, link: str, frame: bytes) -> None:
    try:
        packets.sendto(frame, (link, 0))
    except OSError as error:
        raise Transient(f"cannot send packets next to the guest: {error.strerror}", step=Step.HEALTH) from error


async def _receive(packets: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(packets, _FRAME_BYTES)
    except OSError as error:
        raise Transient(f"cannot receive packets next to the guest: {error.strerror}", step=Step.HEALTH) from error
