"""Upgrade, removal and purge of the package, with a guest that is not disturbed. Runs after the others."""

import pytest

from tests.harness.waiting import eventually

from .base import LEFT_OUT
from .disk import DEB, NEXT_DEB, NEXT_VERSION
from .service import METRICS, START_S, UNIT, Inside, Service, changed_files, dpkg

CONFIG = "/etc/vtapd/vtapd.toml"
PAGE = "Hiya, Gump!"


def _starts(vtapd: Service, guest: Inside) -> tuple[float, float]:
    return vtapd.metrics().restarts(guest.name), vtapd.metrics().exits(guest.name)


def _is_adopted(vtapd: Service, guest: Inside) -> None:
    eventually(lambda: vtapd.metrics().guest_up(guest.name), "the guest is adopted", START_S, every_s=0.5)
    assert PAGE in guest.page()


@pytest.fixture
def edited(vtapd: Service) -> str:
    """The configuration after an operator has changed it."""
    vtapd.machine.sh(f"sed -i 's/^resync = .*/resync = \"31s\"/' {CONFIG}")
    text = vtapd.machine.run("cat", CONFIG).out
    assert 'resync = "31s"' in text
    return text


def test_dpkg_finds_no_changed_file(vtapd: Service) -> None:
    printed = vtapd.machine.run("dpkg", "--verify", "vtapd", check=False).lines
    # This machine's dpkg leaves documentation out (base.py).
    left_out = tuple(f"/usr/share/{name}" for name in LEFT_OUT)
    assert [line for line in printed if not line.split()[-1].startswith(left_out)] == [], (
        "a file of the package was changed"
    )
    assert vtapd.show("UnitFileState") == "enabled"
    assert vtapd.show("FragmentPath").endswith("/lib/systemd/system/vtapd.service"), (
        "the unit in use is not the package's"
    )


def test_upgrade_keeps_guests(vtapd: Service, guest: Inside, edited: str) -> None:
    qemu, daemon, starts = guest.qemu(), vtapd.main_pid, _starts(vtapd, guest)
    dpkg(vtapd.machine, "--install", f"/{NEXT_DEB}")
    assert vtapd.main_pid not in (0, daemon), "the service was not restarted"
    assert vtapd.machine.run("vtapd", "--version").out.split() == ["vtapd", NEXT_VERSION]
    _is_adopted(vtapd, guest)
    assert guest.qemu() == qemu
    assert _starts(vtapd, guest) == starts
    assert vtapd.machine.run("cat", CONFIG).out == edited
    assert f'vtapd_build_info{{version="{NEXT_VERSION}"}} 1.0' in vtapd.machine.run("curl", "-sS", METRICS).out


def test_disabled_service_stays_disabled(vtapd: Service) -> None:
    vtapd.machine.run("systemctl", "disable", "-q", UNIT)
    try:
        dpkg(vtapd.machine, "--install", f"/{NEXT_DEB}")
        assert vtapd.show("UnitFileState") == "disabled"
    finally:
        vtapd.machine.run("systemctl", "enable", "-q", UNIT)


def test_removal_leaves_guests_running(vtapd: Service, guest: Inside, edited: str) -> None:
    qemu, starts = guest.qemu(), _starts(vtapd, guest)
    printed = dpkg(vtapd.machine, "--remove", "vtapd")
    assert "keep their guest" in printed
    assert vtapd.machine.run("pgrep", "-f", "/usr/lib/vtapd/bin").lines == [str(vtapd.parent_of(qemu))], (
        "only the parent of the guests that still run is left"
    )
    assert vtapd.machine.run("ls", "/usr/lib/vtapd", "/usr/bin/vtapd", check=False).out == ""
    assert PAGE in guest.page()
    assert guest.qemu() == qemu
    dpkg(vtapd.machine, "--install", f"/{DEB}")
    assert vtapd.machine.run("cat", CONFIG).out == edited
    _is_adopted(vtapd, guest)
    assert guest.qemu() == qemu
    assert _starts(vtapd, guest) == starts


def test_purge_restores_the_machine(vtapd: Service, plain: Inside, neighbour: Inside, guest: Inside) -> None:
    machine = vtapd.machine
    machine.run("docker", "rm", "-f", *(container.name for container in (plain, neighbour, guest)))
    eventually(
        lambda: not machine.run("vtapd", "ps", "--json").out.strip("[] \n"), "all are detached", START_S, every_s=0.5
    )
    dpkg(machine, "--purge", "vtapd")
    assert changed_files(machine) == []
    assert machine.sh("ls -A /run/netns; ls -d /run/vtapd 2>/dev/null || true").out == ""
    assert machine.run("systemctl", "is-system-running", check=False).out.strip() == "running"
    # Debian's policy: the user stays, since a reused id must not own old files.
    assert machine.run("getent", "passwd", "vtapd-guest").code == 0
