"""A guest does not notice its daemon's end, however the service is ended."""

import pytest

from tests.harness.waiting import eventually

from .service import START_S, UNIT, Inside, Service

GREETING = "Hiya, Gump!"


@pytest.fixture(scope="module")
def crashed_once(vtapd: Service, guest: Inside) -> Inside:
    """The guest, with a history that the next daemon must keep."""
    if vtapd.metrics().restarts(guest.name) == 0:
        guest.machine.run("curl", "-s", "-m", "5", f"http://{guest.address}/crash", check=False)
        eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "the crash is counted", START_S, every_s=0.5)
        guest.await_page()
    return guest


def _is_adopted(vtapd: Service, guest: Inside, qemu: int) -> None:
    eventually(lambda: vtapd.metrics().guest_up(guest.name), "the guest is adopted", START_S, every_s=0.5)
    assert GREETING in guest.page()
    assert guest.qemu() == qemu
    assert vtapd.metrics().restarts(guest.name) == 1
    assert vtapd.metrics().exits(guest.name) == 1


def test_guest_survives_restart_of_the_service(vtapd: Service, crashed_once: Inside) -> None:
    qemu, daemon = crashed_once.qemu(), vtapd.main_pid
    vtapd.systemctl("restart")
    assert vtapd.main_pid != daemon
    _is_adopted(vtapd, crashed_once, qemu)


def test_guest_survives_kill_9_of_the_daemon(vtapd: Service, crashed_once: Inside) -> None:
    qemu, daemon = crashed_once.qemu(), vtapd.main_pid
    vtapd.machine.run("kill", "-9", str(daemon))
    assert GREETING in crashed_once.page()
    eventually(lambda: vtapd.main_pid not in (0, daemon), "systemd restarts the service", START_S, every_s=0.5)
    vtapd.await_ready()
    _is_adopted(vtapd, crashed_once, qemu)


def test_guest_survives_stop_of_the_service(vtapd: Service, crashed_once: Inside) -> None:
    qemu = crashed_once.qemu()
    vtapd.systemctl("stop")
    try:
        assert vtapd.show("Result") == "success"
        assert GREETING in crashed_once.page()
        assert crashed_once.qemu() == qemu
    finally:
        vtapd.systemctl("start")
    _is_adopted(vtapd, crashed_once, qemu)


def test_reaper_is_no_part_of_the_service(vtapd: Service, crashed_once: Inside) -> None:
    """It survives `systemctl kill`, and systemd finds no left-over process when it starts the service again."""
    qemu, daemon = crashed_once.qemu(), vtapd.main_pid
    reaper = vtapd.parent_of(qemu)
    eventually(
        lambda: f"vtapd-reaper-{reaper}.scope" in cgroup_of(vtapd, reaper), "it has a scope", START_S, every_s=0.5
    )
    vtapd.systemctl("kill", "--signal=KILL")
    eventually(lambda: vtapd.main_pid not in (0, daemon), "systemd restarts the service", START_S, every_s=0.5)
    vtapd.await_ready()
    _is_adopted(vtapd, crashed_once, qemu)
    assert vtapd.parent_of(qemu) == reaper
    assert "left-over" not in vtapd.machine.run("journalctl", "--no-pager", "-u", UNIT).out


def cgroup_of(vtapd: Service, pid: int) -> str:
    return vtapd.machine.run("cat", f"/proc/{pid}/cgroup").out
