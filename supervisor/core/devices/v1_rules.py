"""Device rules as cgroup v1 writes them (Documentation/admin-guide/cgroup-v1/devices.rst)."""

import re
from collections.abc import Iterable

from supervisor.core.devices.bpf_rules import parse_rule
from supervisor.core.links import DeviceNumber

_EXACT = re.compile(r"c (\d+):(\d+) rwm")


def format_rule(device: DeviceNumber) -> str:
    """Return the rule that allows exactly this character device: read, write and mknod."""
    return f"c {device} rwm"


def allows(listing: str, device: DeviceNumber) -> bool:
    """Return whether a `devices.list` allows the device: by its own rule, or because it allows everything."""
    rules = listing.splitlines()
    return format_rule(device) in rules or "a *:* rwm" in rules


def has_own_rule(listing: str, device: DeviceNumber) -> bool:
    """Return whether the list has this rule, so that removing it undoes it. If everything is allowed, it has not."""
    return format_rule(device) in listing.splitlines()


def exact_devices(listing: str) -> frozenset[DeviceNumber]:
    """Return the devices of all rules that look like those of `format_rule`."""
    found = (_EXACT.fullmatch(line) for line in listing.splitlines())
    return frozenset(DeviceNumber(int(match[1]), int(match[2])) for match in found if match)


def granted_devices(rules: Iterable[str]) -> frozenset[DeviceNumber]:
    """Return the devices that rules given to Docker allow one by one, such as `c 246:3 rw`."""
    return frozenset(
        DeviceNumber(rule.major, rule.minor)
        for rule in map(parse_rule, rules)
        if rule.type != "b" and rule.major is not None and rule.minor is not None
    )
