"""A LAN for macvlan networks: one end of a veth pair is Docker's parent interface, the other is the rest of the LAN."""

from collections.abc import Iterator
from contextlib import contextmanager

from .containers import Containers
from .machine import Machine


@contextmanager
def lan(machine: Machine, containers: Containers, parent: str, rest: str) -> Iterator[None]:
    """Make the pair, and remove it after the test's containers."""
    machine.run("ip", "link", "add", parent, "type", "veth", "peer", "name", rest)
    for end in (parent, rest):
        machine.run("ip", "link", "set", end, "up")
    try:
        yield
        containers.remove_all()
    finally:
        machine.run("ip", "link", "del", parent)
