"""DNS queries in the name of a guest that asks none itself, such as the test guest."""

import socket

from supervisor.core.formats import dns

from .containers import Container
from .netns import inside_of

RESOLVER, PORT = "169.254.118.1", 53
IP_TRANSPARENT = 19  # linux/in.h


def ask_as_guest(guest: Container, *labels: str) -> None:
    """Ask the guest's DNS server for a name, in the container but from the guest's address. The guest is answered."""

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            sock.bind((guest.address, 0))
            sock.sendto(dns.format_query(tuple(each.encode() for each in labels)), (RESOLVER, PORT))

    inside_of(guest.pid, ask)
