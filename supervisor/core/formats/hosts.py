"""Read a container's /etc/hosts (man 5 hosts), in which Docker keeps its own name, `--add-host` and `--link`.

The content is not trusted: the container may have written it.
"""

import ipaddress
from dataclasses import dataclass, field

from supervisor.core.formats.dns import Name

_MAX_LINES = 4096


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of each name, and the first name of each address. Addresses are packed."""

    addresses: dict[Name, tuple[bytes, ...]] = field(default_factory=dict)
    names: dict[bytes, Name] = field(default_factory=dict)


def parse_hosts(text: str) -> Hosts:
    """Return what the file says. Lines that are not as they should be are left out."""
    addresses: dict[Name, dict[bytes, None]] = {}
    names: dict[bytes, Name] = {}
    for line in text.split("\n")[:_MAX_LINES]:
        address, *words = line.partition("#")[0].split() or [""]
        packed = _packed(address)
        if packed is None:
            continue
        for name in filter(None, map(parse_name, words)):
            addresses.setdefault(name, {})[packed] = None
            names.setdefault(packed, name)
    return Hosts({name: tuple(found) for name, found in addresses.items()}, names)


def _packed(text: str) -> bytes | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).packed
    except ValueError:
        return None


def parse_name(text: str) -> Name | None:
    """Return the labels of a host name; None if it cannot be one."""
    labels = tuple(text.lower().removesuffix(".").encode("utf-8", "replace").split(b"."))
    if sum(1 + len(label) for label in labels) > 254 or not all(0 < len(label) < 64 for label in labels):
        return None
    return labels
