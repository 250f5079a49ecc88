"""sd_notify (man 3 sd_notify): one datagram to the socket that systemd names. Nothing without systemd."""

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as READY=1. A service manager that does not listen is no error of ours."""
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
    """Half of what systemd allows between two WATCHDOG=1, or None when it asks for none."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
