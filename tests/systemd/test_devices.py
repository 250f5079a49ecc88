"""Device rules with Docker's systemd driver: systemd has its own program for each container, and replaces it."""

import pytest

from .outage import outage_during
from .service import Inside, Service

LONGEST_S = 1.0


def test_rule_allows_exactly_one_device(plain: Inside, neighbour: Inside) -> None:
    major, minor = neighbour.device_number("/dev/tap0")
    plain.exec(f"test -c /tmp/neighbour || mknod /tmp/neighbour c {major} {minor}")
    assert plain.opened("/dev/tap0", "/dev/null", "/tmp/neighbour") == ["/dev/tap0", "/dev/null"]


@pytest.mark.parametrize(
    "command",
    ["systemctl daemon-reload", "docker update --cpus 0.9 --memory 256m --memory-swap 256m plain"],
)
def test_device_stays_open_during_a_reload_or_update(vtapd: Service, plain: Inside, command: str) -> None:
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    outage = outage_during(plain, command)
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total") - repairs
    print(f"{command}: {outage}, {repairs:g} repairs")
    assert outage.opened, "the device was not opened afterwards"
    assert outage.longest_s <= LONGEST_S
    assert outage.after_s <= LONGEST_S


def test_lost_rule_is_restored_by_a_daemon_reload(vtapd: Service, plain: Inside) -> None:
    """No event reports the loss, but systemd reports its reload. It is done twice, since a resync may come between."""
    major, minor = plain.device_number("/dev/tap0")
    take_away = (
        f"systemctl show -p DeviceAllow {plain.scope} | grep -v /dev/char/{major}:{minor} |"
        f" xargs -d '\\n' systemctl set-property --runtime {plain.scope} DeviceAllow="
    )
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    once = f"{take_away}; sleep 1; systemctl daemon-reload"
    outage = outage_during(plain, f"{once}; sleep 1; {once}")
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total") - repairs
    print(f"taken away until a reload: {outage}, {repairs:g} repairs")
    assert outage.longest_s > 0, "the rule was not lost"
    assert outage.opened
    assert outage.after_s <= LONGEST_S
    assert repairs == 2


def test_programs_do_not_accumulate(vtapd: Service, plain: Inside) -> None:
    """A cgroup takes 64 programs; systemd leaves one behind for each of its own that another process has replaced."""
    vtapd.machine.run("systemctl", "daemon-reload")
    before = len(vtapd.programs(plain))
    for _ in range(2):
        vtapd.machine.run("systemctl", "daemon-reload")
    assert plain.opened("/dev/tap0")
    assert len(vtapd.programs(plain)) == before


def test_detach_also_removes_the_device_from_the_scope(vtapd: Service, neighbour: Inside) -> None:
    machine = vtapd.machine
    major, minor = neighbour.device_number("/dev/tap0")
    allowed = machine.run("systemctl", "show", "-p", "DeviceAllow", neighbour.scope).lines
    machine.run("vtapd", "detach", neighbour.name)
    neighbour.exec(f"mknod /tmp/tap c {major} {minor}")
    opened = neighbour.opened("/tmp/tap", "/dev/null")
    assert opened == ["/dev/null"], "the detached container can still open the number"
    left = machine.run("systemctl", "show", "-p", "DeviceAllow", neighbour.scope).lines
    assert set(allowed) - set(left) == {f"DeviceAllow=/dev/char/{major}:{minor} rwm"}
    machine.run("vtapd", "attach", neighbour.name)
    neighbour.await_attached()
    assert neighbour.opened("/dev/tap0")
