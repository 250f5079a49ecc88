"""What a guest notices of its daemon's end: nothing, however the service is ended."""

import pytest

from tests.harness.waiting import eventually

from .service import Inside, Service

GREETING = "Hiya, Gump!"


@pytest.fixture(scope="module")
def crashed_once(vtapd: Service, guest: Inside) -> Inside:
    """The guest, with a history that a daemon which forgets would lose."""
    if vtapd.metrics().restarts(guest.name) == 0:
        guest.machine.run("curl", "-s", "-m", "5", f"http://{guest.address}/crash", check=False)
        eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "the crash is counted", 30, every_s=0.5)
        guest.await_page()
    return guest


def _is_adopted(vtapd: Service, guest: Inside, qemu: int) -> None:
    eventually(lambda: vtapd.metrics().guest_up(guest.name), "the guest is adopted", 30, every_s=0.5)
    assert GREETING in guest.page()
    assert guest.qemu() == qemu
    assert vtapd.metrics().restarts(guest.name) == 1
    assert vtapd.metrics().exits(guest.name) == 1


def test_restart(vtapd: Service, crashed_once: Inside) -> None:
    qemu, daemon = crashed_once.qemu(), vtapd.main_pid
    vtapd.systemctl("restart")
    assert vtapd.main_pid != daemon
    _is_adopted(vtapd, crashed_once, qemu)


def test_kill_9(vtapd: Service, crashed_once: Inside) -> None:
    qemu, daemon = crashed_once.qemu(), vtapd.main_pid
    vtapd.machine.run("kill", "-9", str(daemon))
    assert GREETING in crashed_once.page()
    eventually(lambda: vtapd.main_pid not in (0, daemon), "systemd starts it anew", 30, every_s=0.5)
    vtapd.await_ready()
    _is_adopted(vtapd, crashed_once, qemu)


def test_stop_leaves_guests(vtapd: Service, crashed_once: Inside) -> None:
    qemu = crashed_once.qemu()
    vtapd.systemctl("stop")
    try:
        assert vtapd.show("Result") == "success"
        assert GREETING in crashed_once.page()
        assert crashed_once.qemu() == qemu
    finally:
        vtapd.systemctl("start")
    _is_adopted(vtapd, crashed_once, qemu)
