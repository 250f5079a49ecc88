"""A container deletes its own tap, and the kernel gives the next container's tap the same device number."""

import struct
from collections.abc import Callable

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.deaf_daemon import DEAF
from tests.harness.device_numbers import take_lower_numbers
from tests.harness.device_programs import DevicePrograms
from tests.harness.observe import node
from tests.harness.patient_daemon import PATIENT
from tests.harness.processes import run
from tests.harness.waiting import eventually

from .stale_devices import TRIES, attack, delete_tap, denials, nothing, prove_closed

pytestmark = pytest.mark.alone  # the taps of other tests would take the number
BUSY_S = 30.0
RARE_RESYNC = pytest.mark.vtapd_config(attach={"resync": "10m"})
"""A resync this rare cannot be what closes the tap."""


@pytest.fixture
def deaf_vtapd(vtapd: Daemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Return a daemon that does not hear which links are gone, as if the message came late."""
    vtapd.stop()
    monkeypatch.setattr(vtapd, "program", DEAF)
    vtapd.start()
    return vtapd


@RARE_RESYNC
@pytest.mark.both_cgroups
def test_container_that_deletes_its_tap_cannot_open_the_next_tap(deaf_vtapd: Daemon, containers: Containers) -> None:
    """The kernel gives the next container's tap the same device number, before the daemon notices that it is free."""
    attacker, victim = attack(deaf_vtapd, containers, nothing, nothing)
    prove_closed(attacker, victim)
    assert (attacker.name, victim.name) in denials(deaf_vtapd)


@RARE_RESYNC
@pytest.mark.both_cgroups
@pytest.mark.parametrize("end", [Daemon.stop, Daemon.kill], ids=["stopped", "killed"])
def test_next_tap_is_closed_after_the_daemon_was_down(
    vtapd: Daemon, containers: Containers, monkeypatch: pytest.MonkeyPatch, end: Callable[[Daemon], object]
) -> None:
    """The next daemon makes the new tap when it knows only the attacker's record."""
    monkeypatch.setattr(vtapd, "program", PATIENT)
    attacker, victim = attack(vtapd, containers, lambda _: end(vtapd), vtapd.start)
    prove_closed(attacker, victim)
    assert (attacker.name, victim.name) in denials(vtapd)


@RARE_RESYNC
@pytest.mark.both_cgroups
def test_node_that_cannot_be_removed_opens_nothing(deaf_vtapd: Daemon, containers: Containers) -> None:
    def make_dev_unwritable(attacker: Container) -> None:
        run(["nsenter", "-m", "-p", "-t", str(attacker.pid), "mount", "-o", "remount,ro", "/dev"])

    attacker, victim = attack(deaf_vtapd, containers, make_dev_unwritable, nothing)
    assert (attacker.name, victim.name) in denials(deaf_vtapd)
    found = node(attacker.pid)
    assert found is not None
    assert found.device == victim.tap_device()
    assert not attacker.opens("/dev/tap0")


@RARE_RESYNC
@pytest.mark.only_v2
def test_container_that_cannot_be_denied_a_device_keeps_the_next_tap_down(
    vtapd: Daemon, containers: Containers
) -> None:
    """Its program seems to be vtapd's, and the kernel does not show what it opens, as with bpf_jit_harden=2."""
    ktime_get_ns, allow = (0x85, 0, 0, 5), ((0xB4, 0, 0, 1), (0x95, 0, 0, 0))
    hidden = b"".join(struct.pack("<BBhi", *instruction) for instruction in (ktime_get_ns, *allow))
    for _ in range(TRIES):
        attacker = containers.run("--cap-add", "NET_ADMIN").await_attached()
        vtapd.request("attach", attacker.name)  # returns when the daemon is done with it
        number = attacker.tap_device()
        DevicePrograms(attacker.pid).attach_beside(hidden, b"vtapd")
        take_lower_numbers(attacker, number)
        delete_tap(attacker)
        victim = containers.run()
        eventually(lambda victim=victim: victim.macvtap(), "the victim's tap is made")  # type: ignore[misc]  # mypy cannot type a default of a lambda
        if victim.tap_device() == number:
            break
    else:
        raise AssertionError(f"other taps took the number {TRIES} times: the test proves nothing")
    view = eventually(lambda: message_of(vtapd, victim), "the message says why the victim is not attached")
    assert attacker.name in view
    assert victim.name in view
    assert f"docker restart {attacker.name}" in view
    assert not victim.macvtap().up
    assert node(victim.pid) is None
    attacker.machine.docker("restart", "-t", "0", attacker.id)
    victim.await_attached(BUSY_S)


def message_of(daemon: Daemon, container: Container) -> str:
    message = daemon.inspect(container.name).message
    return message if "cannot be denied" in message else ""
