"""The unit starts, notifies systemd, and is watched by it."""

from tests.harness.waiting import eventually

from .machine import SystemdMachine
from .service import Service


def test_machine_has_the_cgroup_driver_of_todays_distributions(machine: SystemdMachine) -> None:
    assert machine.run("docker", "info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}").out.strip() == "systemd 2"
    assert machine.run("cat", "/proc/1/comm").out.strip() == "systemd"


def test_service_is_active_by_sd_notify(vtapd: Service) -> None:
    assert vtapd.show("Type") == "notify", "`systemctl start` does not wait for READY=1"
    assert vtapd.show("ActiveState") == "active"
    assert vtapd.show("StatusText").startswith("watching Docker")


def test_slow_start_is_not_ended(vtapd: Service) -> None:
    """On a busy machine a start may take minutes. If systemd ended it, the next one would get no further."""
    assert vtapd.show("TimeoutStartUSec") == "10min"


def test_reload(vtapd: Service) -> None:
    """A new configuration applies, in the same process; a wrong one leaves the old one in force."""
    pid, config = vtapd.main_pid, "/etc/vtapd/vtapd.toml"
    vtapd.machine.run("cp", "-a", config, "/root/before.toml")
    try:
        vtapd.machine.run("sed", "-i", 's/^level = .*/level = "debug"/', config)
        vtapd.systemctl("reload")
        eventually(lambda: vtapd.journal("VTAPD_EVENT=config_reloaded"), "the reload is logged", 60, every_s=0.5)
        vtapd.machine.sh(f"echo nonsense >> {config}")
        vtapd.systemctl("reload")
        eventually(lambda: vtapd.journal("VTAPD_EVENT=config_refused"), "the wrong file is refused", 60, every_s=0.5)
        eventually(lambda: "is wrong" in vtapd.show("StatusText"), "systemctl status says so", 60, every_s=0.5)
    finally:
        vtapd.machine.run("mv", "/root/before.toml", config)
        vtapd.systemctl("reload")
    eventually(lambda: "watching Docker" in vtapd.show("StatusText"), "it is right again", 60, every_s=0.5)
    assert (vtapd.main_pid, vtapd.show("ActiveState")) == (pid, "active")


def test_watchdog_is_notified(vtapd: Service) -> None:
    before = int(vtapd.show("WatchdogTimestampMonotonic"))
    eventually(lambda: int(vtapd.show("WatchdogTimestampMonotonic")) > before, "WATCHDOG=1", 60, every_s=1)
