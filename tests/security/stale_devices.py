"""A container deletes its own tap and attacks the tap of the next container, which gets the same device number.

Device numbers are shared by the whole machine, and other tests make taps: if another tap gets the number, the attack
is repeated.
"""

from collections.abc import Callable

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.device_numbers import take_lower_numbers
from tests.harness.patient_daemon import LATE
from tests.harness.tap_thief import NODE, Thief
from tests.harness.waiting import eventually

TRIES = 4
REQUESTS = 60
BUSY_S = 30.0


def nothing(*_: object) -> None:
    """Do nothing: for a daemon that runs all the time."""


def delete_tap(container: Container) -> None:
    """Delete the tap as its owner does, with only the rights that Docker gives every container."""
    container.exec("ip", "link", "delete", container.tap_name)


def attack(
    daemon: Daemon, containers: Containers, before: Callable[[Container], object], after: Callable[[], object]
) -> tuple[Container, Container]:
    """Delete the attacker's tap and start a guest, which must get all its packets. Return attacker and victim.

    `before` is called before the tap is deleted, and `after` when the guest's container has started.
    """
    for _ in range(TRIES):
        attacker = containers.run("--cap-add", "NET_ADMIN", labels=LATE).await_attached()
        daemon.request("attach", attacker.name)  # returns when the daemon is done with it
        number = attacker.tap_device()
        thief = Thief(attacker, number)
        try:
            before(attacker)
            take_lower_numbers(attacker, number)
            delete_tap(attacker)
            victim = containers.guest(memory="16M")
            after()
            victim.await_page(BUSY_S)
            met = victim.tap_device() == number
            for _ in range(REQUESTS if met else 0):
                assert victim.get("/info").status == 200
            loot = thief.end()
        finally:
            thief.kill()
        if met:
            assert victim.tap_name not in loot.frames
            assert victim.tap_name not in loot.alive
            return attacker, victim
    raise AssertionError(f"other taps took the number {TRIES} times: the test proves nothing")


def prove_closed(attacker: Container, victim: Container) -> None:
    """Assert that the attacker has its own tap again, and can open no other."""
    device = victim.tap_device()
    eventually(lambda: attacker.tap_device() != device, f"{attacker.name} has a tap again", BUSY_S)
    eventually(lambda: is_attached(attacker), f"{attacker.name} is attached", BUSY_S)
    assert not attacker.opens(NODE)
    assert attacker.opens("/dev/tap0")


def is_attached(container: Container) -> bool:
    assert_attached(container)
    return True


def denials(daemon: Daemon) -> list[tuple[object, object]]:
    """Return, from the log, the containers that were denied a device, each with the container whose tap it is now."""
    lines = [line for line in daemon.log_lines() if line.get("event") == "stale_device_denied"]
    return [(line["held_by"], line["container"]) for line in lines if line["level"] == "warning"]
