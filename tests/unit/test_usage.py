"""What the daemon reads for `vtapd top`."""

import os
from dataclasses import replace
from pathlib import Path

import anyio

from supervisor.api.usage import UsageReport, observe_usage
from supervisor.core.container import Incarnation, Pid
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.health_spec import Readiness
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import Exit, GuestRecord, Record
from supervisor.core.report.schema import Usage
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroup_usage
from supervisor.edges.kernel.process import start_ticks
from tests.unit.examples import ID, NAME, PROCESS

ME = Incarnation(Pid(os.getpid()), start_ticks(Pid(os.getpid())))
UNKNOWN = ContainerStatus(id=ID, name=NAME)
V2 = {
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    "memory.current": "5000\n",
    "memory.max": "max\n",
    "memory.stat": "anon 1\ninactive_file 1000\n",
    "io.stat": "8:0 rbytes=1 wbytes=2\n",
    "pids.current": "3\n",
}
V1 = {
    "cpuacct.usage": "1500000000\n",
    "memory.usage_in_bytes": "5000\n",
    "memory.limit_in_bytes": "67108864\n",
    "memory.stat": "inactive_file 7\ntotal_inactive_file 1000\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
    "pids.current": "3\n",
}


def folder(path: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


def test_v2_counters(tmp_path: Path) -> None:
    used = cgroup_usage.observe_usage(Cgroup({}, folder(tmp_path, V2)))
    assert used == cgroup_usage.CgroupUsage(
        cpu_s=1.5, memory_bytes=4000, memory_limit_bytes=None, read_bytes=1, written_bytes=2, processes=3
    )


def test_v1_counters(tmp_path: Path) -> None:
    there = folder(tmp_path, V1)
    used = cgroup_usage.observe_usage(Cgroup(dict.fromkeys(("cpuacct", "memory", "blkio", "pids"), there), None))
    assert used == cgroup_usage.CgroupUsage(
        cpu_s=1.5, memory_bytes=4000, memory_limit_bytes=1 << 26, read_bytes=1, written_bytes=2, processes=3
    )


def test_missing_controllers_give_none(tmp_path: Path) -> None:
    assert cgroup_usage.observe_usage(Cgroup({}, str(tmp_path))) == cgroup_usage.CgroupUsage()
    assert cgroup_usage.observe_usage(Cgroup({"cpuacct": str(tmp_path)}, None)) == cgroup_usage.CgroupUsage()
    assert cgroup_usage.observe_usage(Cgroup({}, None)) == cgroup_usage.CgroupUsage()


def test_every_key_is_there_for_a_container_that_does_not_run() -> None:
    (only,) = anyio.run(UsageReport().read, [UNKNOWN])
    assert set(only) == set(Usage.__annotations__)
    assert (only["guest"], only["ready"], only["restarts"], only["restores"]) == (None,) * 4
    assert (only["cpu_s"], only["receive_bytes"]) == (None, None)


def test_container_that_has_just_ended_has_no_counters() -> None:
    gone = Incarnation(Pid(2**22 + 1), 0)
    assert observe_usage(replace(UNKNOWN, incarnation=gone))["cpu_s"] is None


def test_guest_that_runs() -> None:
    guest = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind="rumprun", because="", qemu=PROCESS)
    found = observe_usage(replace(UNKNOWN, incarnation=ME, attached=True, guest=guest))
    assert (found["guest"], found["ready"], found["restarts"], found["backoff_s"]) == ("rumprun", None, 0, None)
    assert found["uptime_s"] is not None
    probed = replace(guest, spec=replace(guest.spec, ready=Readiness(pattern="up")))
    assert observe_usage(replace(UNKNOWN, incarnation=ME, guest=probed))["ready"] is False


def test_guest_in_backoff_has_the_time_that_is_left() -> None:
    record = Record(
        ID,
        NAME,
        ME,
        (),
        GuestRecord(exits=(Exit("guest-panic"),), not_before_s=boottime_s() + 50, restore_counts={"restored": 2}),
    )
    guest = GuestStatus(spec=GuestSpec(kernel="/k", memory_mib=64), kind="rumprun", because="")
    found = observe_usage(replace(UNKNOWN, incarnation=ME, attached=True, record=record, guest=guest))
    assert (found["state"], found["restores"]) == ("backoff", 2)
    assert found["backoff_s"] is not None
    assert 40 < found["backoff_s"] <= 50
