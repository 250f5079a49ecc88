"""Find out from QEMU whether a guest uses another MAC than the one that its card was given."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

_CARD = re.compile(r"[^,]+,id=nic(\d+),(?:[^,]+,)*?mac=([0-9a-f:]{17})(?:,.*)?")
_NAME = re.compile(r"nic(\d+)")


def given_macs(command: Iterable[str]) -> dict[int, str]:
    """Return the MAC of each card on QEMU's command line, by slot."""
    devices = (value for option, value in pairwise(command) if option == "-device")
    return {int(match[1]): match[2] for match in map(_CARD.fullmatch, devices) if match}


def changed_macs(answer: object, given: Mapping[int, str]) -> dict[int, str]:
    """Return the MACs that the guest has set itself, by slot, from QEMU's answer to `query-rx-filter` (qapi/net.json).

    A card whose MAC is not in `given` was plugged in later. It is left out.
    """
    found = {}
    for each in answer if isinstance(answer, list) else ():
        match each:
            case {"name": str(name), "main-mac": str(mac)} if named := _NAME.fullmatch(name):
                slot = int(named[1])
                if slot in given and mac.lower() != given[slot]:
                    found[slot] = mac.lower()
    return found
