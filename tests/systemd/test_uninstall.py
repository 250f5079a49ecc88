"""`make install` in place of the package, and `make uninstall`. conftest.py makes it run last."""

from .disk import INSIDE, MADE
from .machine import SystemdMachine
from .service import START_S, UNIT, changed_files, dpkg

OURS = "getent passwd vtapd-guest; getent group vtapd vtapd-guest; ls -A /run/netns; ls -d /run/vtapd; pgrep -a vtapd"


def test_uninstall_leaves_nothing(machine: SystemdMachine) -> None:
    """Installs as `make install` does with systemd, except for pip."""
    dpkg(machine, "--purge", "vtapd")
    machine.sh(f"cp -a /{MADE}/. /; systemd-sysusers; systemd-tmpfiles --create /etc/tmpfiles.d/vtapd.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "-q", "--now", UNIT, timeout_s=START_S)
    assert machine.run("systemctl", "is-active", UNIT).out.strip() == "active"
    machine.run("make", "-s", "-C", f"/{INSIDE}", "uninstall")
    if shared := changed_files(machine):  # shared folders, which must be empty
        assert not [path for path in shared if "vtapd" in path]
        machine.run("rmdir", *reversed(shared))
    left = machine.run("sh", "-c", f"({OURS}) 2>/dev/null", check=False).lines
    assert [line for line in left if "vtapd-test-agent" not in line] == []
    assert machine.run("systemctl", "is-system-running", check=False).out.strip() == "running"
