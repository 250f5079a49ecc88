"""Notify systemd (man 3 sd_notify): one datagram to the socket that it names. Does nothing without systemd."""

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as READY=1. If the service manager does not listen, that is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(assignments).encode(), socket.MSG_DONTWAIT, address)
        except OSError:
            return


def watchdog_interval_s() -> float | None:
    """Return half the time that systemd allows between two WATCHDOG=1, or None if it expects none."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
