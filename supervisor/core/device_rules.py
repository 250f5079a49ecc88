"""Device rules as cgroup v1 writes them (Documentation/admin-guide/cgroup-v1/devices.rst)."""

from supervisor.core.model import DeviceNumber


def format_rule(device: DeviceNumber) -> str:
    """The rule that opens exactly this character device: read, write and mknod."""
    return f"c {device} rwm"


def allows(listing: str, device: DeviceNumber) -> bool:
    """Whether a `devices.list` opens the device: by its own rule, or because everything is open."""
    rules = listing.splitlines()
    return format_rule(device) in rules or "a *:* rwm" in rules


def has_own_rule(listing: str, device: DeviceNumber) -> bool:
    """Whether the rule stands there by itself, so that taking it away is an undo and not a new prohibition."""
    return format_rule(device) in listing.splitlines()
