"""Device rules under cgroup v2: exact, kept, and undone exactly, whatever else is in the container's program."""

import os
import signal
import struct

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.device_programs import DevicePrograms
from tests.harness.waiting import eventually

pytestmark = pytest.mark.only_v2


def test_rule_allows_exactly_one_device(vtapd: Daemon, containers: Containers) -> None:
    one, two = containers.run().await_attached(), containers.run().await_attached()
    major, minor = two.tap_device()
    one.exec("mknod", "/tmp/neighbour", "c", str(major), str(minor))
    assert one.opens("/dev/tap0")
    assert one.opens("/dev/null")
    assert not one.opens("/tmp/neighbour")


def test_device_options_of_docker_run_still_apply(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run("--device-cgroup-rule", "c 10:229 rw", "--device", "/dev/loop-control").await_attached()
    container.exec("mknod", "/tmp/fuse", "c", "10", "229")
    container.exec("mknod", "/tmp/mem", "c", "1", "1")
    assert container.opens("/tmp/fuse"), "--device-cgroup-rule"
    assert container.opens("/dev/loop-control"), "--device"
    assert not container.opens("/tmp/mem")
    assert container.opens("/dev/tap0")


def test_detach_restores_the_program_exactly(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    major, minor = container.tap_device()
    programs = DevicePrograms(container.pid)
    extended = programs.all()
    vtapd.request("detach", container.name)
    (plain,) = programs.all()
    assert [plain == each for each in extended] == [False]
    assert extended[0].endswith(plain)
    container.exec("mknod", "/tmp/tap", "c", str(major), str(minor))
    assert not container.opens("/tmp/tap"), "the detached container can still open the number"


@pytest.mark.vtapd_config(attach={"resync": "1s"})
def test_rules_lost_by_daemon_reload_are_repaired(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    programs = DevicePrograms(container.pid)
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    vtapd.request("detach", container.name)
    (plain,) = programs.all()
    vtapd.request("attach", container.name)
    assert container.opens("/dev/tap0")
    os.kill(vtapd.pid, signal.SIGSTOP)  # or it may repair the rule at once
    programs.attach_beside(plain)
    assert not container.opens("/dev/tap0"), "all programs must allow a device, so the added one denies it"
    os.kill(vtapd.pid, signal.SIGCONT)
    eventually(lambda: container.opens("/dev/tap0"), "the rule is repaired at the next resync", deadline_s=10)
    assert len(programs.ids()) == 2
    assert vtapd.metrics().value("vtapd_device_rule_repairs_total") == repairs + 1
    vtapd.request("detach", container.name)
    assert programs.all() == [plain, plain], "a program was not restored"


def test_program_that_opens_everything_is_unchanged(vtapd: Daemon, containers: Containers) -> None:
    """Such a program needs no rule, and gets none."""
    container = containers.run("--device-cgroup-rule", "c *:* rwm").await_attached()
    (program,) = DevicePrograms(container.pid).all()
    vtapd.request("detach", container.name)
    assert DevicePrograms(container.pid).all() == [program]


@pytest.mark.vtapd_config(attach={"resync": "1s"})
def test_unreadable_program_is_rebuilt(vtapd: Daemon, containers: Containers) -> None:
    """This one calls a helper: its dump contains a kernel address, and cannot be loaded again."""
    ktime_get_ns, deny = (0x85, 0, 0, 5), ((0xB4, 0, 0, 0), (0x95, 0, 0, 0))
    program = b"".join(struct.pack("<BBhi", *instruction) for instruction in (ktime_get_ns, *deny))
    container = containers.run("--device-cgroup-rule", "c 10:229 rw").await_attached()
    container.exec("mknod", "/tmp/fuse", "c", "10", "229")
    container.exec("mknod", "/tmp/mem", "c", "1", "1")
    repairs = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    DevicePrograms(container.pid).attach_beside(program)  # now nothing opens until the next resync
    mended = "vtapd_device_rule_repairs_total"
    eventually(
        lambda: vtapd.metrics().value(mended) > repairs, "the program is rebuilt at the next resync", deadline_s=20
    )
    assert container.opens("/dev/tap0")
    assert container.opens("/dev/null"), "a device of runc's default list"
    assert container.opens("/tmp/fuse"), "--device-cgroup-rule"
    assert not container.opens("/tmp/mem")
    assert "built again" in vtapd.command("inspect", container.name, "--json").stdout
    assert any(line.get("event") == "device_program_rebuilt" for line in vtapd.log_lines())
