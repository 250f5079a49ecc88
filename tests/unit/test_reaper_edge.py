"""The reaper and the edge that asks it, with programs of this user in place of QEMU."""

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from supervisor.core.container import User
from supervisor.core.guest.exit_report import ExitReport
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu import reaper_process, reaper_socket
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.errors import Permanent, Transient
from supervisor.guest.reaper import Reaper
from supervisor.reaper.messages import PROTOCOL
from tests.harness.processes import children_of
from tests.harness.waiting import eventually

pytestmark = pytest.mark.anyio

USER = User("guest", os.getuid(), os.getgid(), tuple(os.getgroups()))
TOO_MANY_GROUPS = tuple(range(70000))  # linux/limits.h: NGROUPS_MAX is 65536
ENDS_S = 10.0
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_EXEC_PERM = 4, 1, 0x40000  # linux/fanotify.h
REPOSITORY = Path(__file__).parents[2]

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may set its groups")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@asynccontextmanager
async def reaper_in(run_dir: Path) -> AsyncIterator[Reaper]:
    reaper = Reaper(run_dir)
    try:
        yield reaper
    finally:
        reaper.close()


def shell(script: str, folder: int, **fields: object) -> SpawnOrder:
    return SpawnOrder("/bin/sh", ("sh", "-c", script), USER, folder, **fields)  # type: ignore[arg-type]  # any of them


async def ended(reaper: Reaper, process: Process, saved: Path | None = None) -> ExitReport:
    with anyio.fail_after(ENDS_S):
        await anyio.wait_readable(process.pidfd)
        report = await reaper.report_of(process, saved)
    process.close()
    return report


@contextmanager
def delayed_exec(program: Path) -> Iterator[None]:
    """Let every exec of this program wait until the end of the context (man 7 fanotify)."""
    libc = ctypes.CDLL(None, use_errno=True)
    group = libc.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY)
    assert group >= 0, os.strerror(ctypes.get_errno())
    try:
        marked = libc.fanotify_mark(group, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_EXEC_PERM), -1, os.fsencode(program))
        assert marked == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        os.close(group)  # what waits is allowed


def descriptors_of(pid: int) -> set[str]:
    return {each.name for each in Path(f"/proc/{pid}/fd").iterdir()}


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("groups", [USER.groups, TOO_MANY_GROUPS])
async def test_failed_start_leaves_no_descriptor_open(folder: int, tmp_path: Path, groups: tuple[int, ...]) -> None:
    async with reaper_in(tmp_path) as reaper:
        order = SpawnOrder("/nowhere/qemu", ("qemu",), User("guest", USER.uid, USER.gid, groups), folder)
        with pytest.raises(Permanent):
            await reaper.spawn(order)
        before = open_descriptors()
        with pytest.raises(Permanent):
            await reaper.spawn(order)
        assert open_descriptors() == before


@needs_root
async def test_start_without_enough_descriptors_leaves_nothing_behind(folder: int, tmp_path: Path) -> None:
    """The reaper may have any number of descriptors left. The daemon tries again later."""
    async with reaper_in(tmp_path) as reaper:
        await ended(reaper, await reaper.spawn(shell("exit 0", folder)))
        pid = reaper_pid(tmp_path)
        before, most = descriptors_of(pid), resource.prlimit(pid, resource.RLIMIT_NOFILE)
        failures = 0
        for left in range(16):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(before) + left, most[1]))
            try:
                process = await reaper.spawn(shell("exit 0", folder))
            except Transient:
                failures += 1
            else:
                await ended(reaper, process)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, most)
            assert reaper_pid(tmp_path) == pid
            eventually(lambda: len(descriptors_of(pid)) <= len(before), f"nothing is open, {left} were left", ENDS_S)
        assert 3 < failures < 16


@needs_root
async def test_exit_and_last_words_are_reported(folder: int, tmp_path: Path) -> None:
    async with reaper_in(tmp_path) as reaper:
        exited = await ended(reaper, await reaper.spawn(shell("echo why >&2; exit 7", folder)))
        assert (exited.status, exited.complaint) == (7, "why")
        killed = await ended(reaper, await reaper.spawn(shell("kill -TERM $$", folder)))
        assert killed.status == -signal.SIGTERM


@needs_root
async def test_report_without_a_record_is_not_kept(folder: int, tmp_path: Path) -> None:
    """The daemon may have forgotten the container before its QEMU was reaped."""
    saved = tmp_path / "guest.exit"
    async with reaper_in(tmp_path) as reaper:
        assert (await ended(reaper, await reaper.spawn(shell("exit 3", folder, report=saved)))).status == 3
    assert not saved.exists()


@needs_root
async def test_report_is_saved_for_a_later_daemon(folder: int, tmp_path: Path) -> None:
    """The reaper ends with its last guest if no daemon runs, and a later daemon reads the file."""
    saved, go = tmp_path / "guest.exit", tmp_path / "go"
    (tmp_path / "guest.json").touch()  # a report without a record is of no use
    async with reaper_in(tmp_path) as first:
        script = "while ! test -e go; do sleep 0.01; done; exit 3"
        process = await first.spawn(shell(script, folder, report=saved))
        pid = reaper_pid(tmp_path)
    go.touch()
    await dead(pid)
    async with reaper_in(tmp_path) as second:
        found = await second.find_report(process.pid, process.start_ticks, saved)
        assert found is not None
        assert found.status == 3
        assert await second.find_report(process.pid, process.start_ticks + 1, saved) is None
    process.close()


@needs_root
async def test_limits_are_never_above_those_of_the_daemon(folder: int, tmp_path: Path) -> None:
    async with reaper_in(tmp_path) as reaper:
        order = shell("test $(ulimit -n) -le 100", folder, limits={7: 100})
        assert (await ended(reaper, await reaper.spawn(order))).status == 0


@needs_root
async def test_killed_reaper_is_replaced_and_its_guests_live_on(folder: int, tmp_path: Path) -> None:
    async with reaper_in(tmp_path) as reaper:
        lives = await reaper.spawn(shell("sleep 60", folder))
        pid = reaper_pid(tmp_path)
        os.kill(pid, signal.SIGKILL)
        await dead(pid)
        assert (await ended(reaper, await reaper.spawn(shell("exit 4", folder)))).status == 4
        lives.kill(signal.SIGTERM)
        # Since Linux 6.15 a pidfd has the status of any process.
        assert (await ended(reaper, lives)).status in (-signal.SIGTERM, None)


@needs_root
async def test_stopped_reaper_is_replaced(folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reaper_in(tmp_path) as reaper:
        await ended(reaper, await reaper.spawn(shell("exit 0", folder)))
        monkeypatch.setattr("supervisor.edges.qemu.reaper_socket.ANSWERS_S", 0.3)
        os.kill(reaper_pid(tmp_path), signal.SIGSTOP)
        with pytest.raises(Exception, match="reaper ended"):
            await reaper.spawn(shell("exit 4", folder))
        monkeypatch.undo()
        assert (await ended(reaper, await reaper.spawn(shell("exit 4", folder)))).status == 4


@needs_root
async def test_program_that_is_read_slowly_is_no_fault_of_the_reaper(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start is given up, and the reaper goes on with its other guests."""
    slow = Path(shutil.copy("/bin/sh", tmp_path / "slow"))
    async with reaper_in(tmp_path) as reaper:
        await ended(reaper, await reaper.spawn(shell("exit 0", folder)))
        pid = reaper_pid(tmp_path)
        with delayed_exec(slow):
            monkeypatch.setattr("supervisor.edges.qemu.reaper_socket.ANSWERS_S", 0.5)
            with pytest.raises(Transient, match="does not start"):
                await reaper.spawn(SpawnOrder(str(slow), ("sh", "-c", "sleep 60"), USER, folder))
            monkeypatch.undo()
            assert (await ended(reaper, await reaper.spawn(shell("exit 4", folder)))).status == 4
        assert reaper_pid(tmp_path) == pid
        eventually(lambda: not children_of(pid), "what was begun is killed", ENDS_S)


@needs_root
async def test_longest_report_is_received(folder: int, tmp_path: Path) -> None:
    """QEMU chooses what it writes, and JSON makes six bytes of some."""
    script = "head -c 16384 /dev/zero | tr '\\0' '\\1' >&2; exit 5"
    async with reaper_in(tmp_path) as reaper:
        report = await ended(reaper, await reaper.spawn(shell(script, folder)))
    assert (report.status, len(report.stderr)) == (5, 16384)


@needs_root
async def test_flood_of_events_ends_and_the_first_reason_counts(folder: int, tmp_path: Path) -> None:
    async with reaper_in(tmp_path) as reaper:
        for flood_bytes, reason in ((30_000, "guest-reset"), (21_000_000, None)):
            ours, theirs = socket.socketpair()
            with theirs:
                script = (
                    f"exec >&{theirs.fileno()}; yes '{{}}' | head -c {flood_bytes}; "
                    "for reason in guest-reset host-signal; do "
                    """echo '{"event": "SHUTDOWN", "data": {"reason": "'$reason'"}}'; done"""
                )
                with ours:
                    process = await reaper.spawn(
                        SpawnOrder(
                            *("/bin/bash", ("bash", "-c", script), USER, folder, (theirs.fileno(),)),
                            events=ours.fileno(),
                        )
                    )
            assert (await ended(reaper, process)).shutdown == reason


@needs_root
async def test_program_that_no_daemon_will_record_is_killed(folder: int, tmp_path: Path) -> None:
    async with reaper_in(tmp_path) as reaper:
        await ended(reaper, await reaper.spawn(shell("exit 0", folder)))
        pid = reaper_pid(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        with suppress(TimeoutError), anyio.fail_after(0.2):
            await reaper.spawn(shell("touch ran; exec sleep 60", folder))
        os.kill(pid, signal.SIGCONT)
    await dead(pid)  # it has no child any more


@needs_root
async def test_reaper_of_another_version_goes_on(folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = tmp_path / "supervisor" / "reaper" / "__main__.py"
    older.parent.mkdir(parents=True)
    older.write_text(
        f"import sys; sys.path.append({str(REPOSITORY)!r})\nfrom supervisor.reaper import server\n"
        "server.PROTOCOL -= 1\nserver.main()\n"
    )
    monkeypatch.setattr(reaper_process, "_PROGRAM", str(older))
    monkeypatch.setattr(reaper_socket, "PROTOCOL", PROTOCOL - 1)
    async with reaper_in(tmp_path) as first:
        process = await first.spawn(shell("while ! test -e go; do sleep 0.01; done; exit 6", folder))
        old = reaper_pid(tmp_path)
        monkeypatch.undo()
        async with reaper_in(tmp_path) as second:
            await ended(second, await second.spawn(shell("exit 0", folder)))
            assert reaper_pid(tmp_path) != old
            (tmp_path / "go").touch()
            assert (await ended(second, process)).status == 6


async def dead(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    with anyio.fail_after(ENDS_S):
        await anyio.wait_readable(pidfd)
    os.close(pidfd)


def reaper_pid(run_dir: Path) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(run_dir / "reaper.sock"))
        connection.send(b'{"do": "hello"}')
        pid: int = json.loads(connection.recv(4096))["pid"]
        return pid
