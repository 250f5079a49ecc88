"""Recognise a guest's QEMU by its command line, and read there what it was started with.

The argument vector is one that `qemu_argv` built, in this version or an earlier one.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from supervisor.core.container import ContainerId
from supervisor.core.guest.qemu_inputs import RAM

NAME_PREFIX = "vtapd-"
_QUEUES = re.compile(r"tap,id=net(\d{1,4}),fds?=([\d:]+).*")
_NETDEV = re.compile(r"tap,id=net(\d{1,4}),.*")


def guest_name(container_id: ContainerId) -> str:
    """Return the value of `-name`, by which a guest of this container is recognised."""
    return NAME_PREFIX + container_id


def queues_of(command: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Return QEMU's descriptors of each card's queues, by slot."""
    netdevs = (value for option, value in pairwise(command) if option == "-netdev")
    found = (match for match in map(_QUEUES.fullmatch, netdevs) if match)
    return {int(match[1]): tuple(map(int, match[2].split(":"))) for match in found}


def memory_mib_of(command: Sequence[str]) -> int | None:
    """Return the guest's memory; None for another argument vector."""
    sizes = (value for option, value in pairwise(command) if option == "-m")
    return next((int(size[:-1]) for size in sizes if size[:-1].isdecimal() and size.endswith("M")), None)


def has_memory_file(command: Sequence[str]) -> bool:
    """Return whether the guest's memory is in a file."""
    return any(option == "-object" and f"id={RAM}," in value for option, value in pairwise(command))


def machine_of(command: Sequence[str]) -> str | None:
    """Return the machine type; None for another argument vector."""
    types = (value.split(",")[0] for option, value in pairwise(command) if option == "-machine")
    return next(types, None)


def accelerator_of(command: Sequence[str]) -> str:
    """Return kvm or tcg."""
    return command[command.index("-accel") + 1].split(",")[0] if "-accel" in command[:-1] else "tcg"


def slots_of(command: Sequence[str]) -> tuple[int, ...]:
    """Return the slots of the cards that it was started with."""
    netdevs = (value for option, value in pairwise(command) if option == "-netdev")
    return tuple(int(match[1]) for match in map(_NETDEV.fullmatch, netdevs) if match)


def has_screen(command: Sequence[str]) -> bool:
    """Return whether the guest has a screen."""
    return any(option == "-device" and value.startswith("VGA,") for option, value in pairwise(command))
