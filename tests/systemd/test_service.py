"""The unit starts, tells systemd so, and is kept an eye on."""

from tests.integration.waiting import eventually

from .machine import SystemdMachine
from .service import Service


def test_the_machine_is_what_todays_distributions_are(machine: SystemdMachine) -> None:
    assert machine.run("docker", "info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}").out.strip() == "systemd 2"
    assert machine.run("cat", "/proc/1/comm").out.strip() == "systemd"


def test_active_by_sd_notify(vtapd: Service) -> None:
    assert vtapd.show("Type") == "notify", "so `systemctl start` returned only after READY=1"
    assert vtapd.show("ActiveState") == "active"
    assert vtapd.show("StatusText").startswith("watching Docker")


def test_the_watchdog_is_fed(vtapd: Service) -> None:
    before = int(vtapd.show("WatchdogTimestampMonotonic"))
    eventually(lambda: int(vtapd.show("WatchdogTimestampMonotonic")) > before, "WATCHDOG=1", 60, every_s=1)
