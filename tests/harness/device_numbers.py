"""Which number the kernel gives to the next macvtap: the lowest that is free on the whole machine.

The macvtaps that are made here vtapd leaves alone, by their names. They go with the container that they are in.
"""

from .containers import Container
from .observe import Device, device_of_macvtap, links
from .processes import run
from .waiting import eventually

MOST = 64


def take_lower_numbers(container: Container, device: Device) -> None:
    """Make macvtaps in the container until no number below this one is free: other tests delete taps at any time.

    Those of an earlier call stay.
    """
    made = sum(name.startswith("fill") for name in links(container.pid))
    for number in range(made, made + MOST):
        if make_macvtap(container, f"fill{number}") > device:
            return
    raise AssertionError(f"{MOST} device numbers below {device} are free")


def await_free(container: Container, device: Device) -> None:
    """Return when the next macvtap will get this number: the kernel deletes those of a container that ended later."""

    def is_free() -> bool:
        found = make_macvtap(container, "probe")
        run([*inside(container), "ip", "link", "delete", "probe"])
        return found == device

    eventually(is_free, f"{device} is free")


def make_macvtap(container: Container, name: str) -> Device:
    run([*inside(container), "ip", "link", "add", "link", "eth0", "name", name, "type", "macvtap", "mode", "bridge"])
    return device_of_macvtap(container.pid, links(container.pid)[name])


def inside(container: Container) -> list[str]:
    return ["nsenter", f"--net=/proc/{container.pid}/ns/net"]
