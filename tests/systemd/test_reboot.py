"""A reboot of the machine: its guests are back as Docker's restart policy says. Runs after the tests of the journal."""

from urllib.request import urlopen

import pytest

from tests.harness.waiting import eventually

from .service import BACK_AFTER_REBOOT, PAGE_S, UNIT, Inside, Service, await_boot

GREETING = "Hiya, Gump!"
REBOOT_S = 1200
WARNING = 4
GUEST = ("--label", "vtapd.kernel=/hello.bin", "--label", "vtapd.accel=tcg")

pytestmark = pytest.mark.timeout(REBOOT_S, func_only=True)


def test_guests_are_back_after_a_reboot(vtapd: Service, plain: Inside, guest: Inside) -> None:
    """`plain` has no restart policy, and `stopped` was stopped by its operator: these stay down."""
    machine = vtapd.machine
    stopped = Inside.run(machine, "stopped", *GUEST, *BACK_AFTER_REBOOT)
    stopped.await_page()
    machine.run("docker", "stop", stopped.name)
    machine.reboot()
    await_boot(machine)
    guest.await_page()
    eventually(lambda: vtapd.row(guest.name).get("state") == "ready", "the guest is ready", PAGE_S, every_s=0.5)
    assert machine.run("docker", "ps", "--format", "{{.Names}}").lines == [guest.name]
    with urlopen(f"http://127.0.0.1:{machine.published}/", timeout=30) as answer:
        assert GREETING in answer.read().decode()
    stopped.remove()


def test_guest_was_stopped_before_its_machine(vtapd: Service, guest: Inside) -> None:
    """Docker would have it killed: it closes its API before it stops containers, so vtapd hears nothing of that."""
    entries = vtapd.journal("-b", "-1", f"_SYSTEMD_UNIT={UNIT}")
    (shutdown,) = [number for number, entry in enumerate(entries) if entry["VTAPD_EVENT"] == "machine_shuts_down"]
    after = entries[shutdown:]
    exits = [entry for entry in after if entry["VTAPD_EVENT"] == "guest_exited"]
    assert {(entry["CONTAINER"], entry["VTAPD_REASON"]) for entry in exits} == {(guest.name, "stopped")}
    assert [entry["VTAPD_EVENT"] for entry in after if int(entry["PRIORITY"]) <= WARNING] == []
    assert after[-1]["VTAPD_EVENT"] == "vtapd_stopped"


def test_nothing_is_left_of_the_last_boot(vtapd: Service, guest: Inside) -> None:
    short = guest.id[:12]
    assert vtapd.machine.run("ls", "/run/netns").lines == [short]
    records = vtapd.machine.sh("cd /run/vtapd; ls -d *.json").lines
    assert [record for record in records if not record.startswith(short)] == []
    assert vtapd.machine.run("pgrep", "-c", "qemu").out.strip() == "1"
    metrics = vtapd.metrics()
    assert (metrics.restarts(guest.name), metrics.exits(guest.name)) == (0, 0)
    errors = vtapd.journal("-b", f"_SYSTEMD_UNIT={UNIT}", "-p", "warning")
    assert errors == []
