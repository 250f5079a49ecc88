"""The controller of a guest that falls asleep and is woken, with a QEMU that is none."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any  # the stand-ins for what the controller is given

import anyio
import pytest

from supervisor.core.attach.actions import StartGuest
from supervisor.core.container import ContainerHandles, Incarnation
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest import sleep
from supervisor.core.guest.restart import Evidence, RestartCurve
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds import KINDS
from supervisor.core.record import GuestRecord, ProcessRecord, Sleep
from supervisor.edges.clock import boottime_s
from supervisor.edges.qemu.state_files import StateFiles
from supervisor.errors import Permanent, Transient
from supervisor.guest import interrupted_handover, starts, waiting_qemu
from supervisor.guest.controller import GuestController
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.kept_state import check_same_start
from supervisor.guest.launch_request import StartRequest
from supervisor.guest.qemu_process import SocketPaths
from supervisor.guest.session_starter import SessionStarter
from supervisor.lazy_event import LazyEvent
from supervisor.observability.metrics import Counters

from .examples import ID, INCARNATION, PROCESS, container

pytestmark = pytest.mark.anyio
COMMAND = ("qemu", "-netdev", "tap,id=net0,fd=7")
STATE = b"the state of a guest"
RUNNING = replace(PROCESS, command=COMMAND, program="of this inode")


@dataclass
class Owner:
    """Keeps the record in memory."""

    record: GuestRecord
    id = ID

    def guest_of(self, _incarnation: Incarnation) -> GuestRecord:
        return self.record

    def note_guest(self, _incarnation: Incarnation, guest: GuestRecord) -> None:
        self.record = guest


@dataclass
class Session:
    """A QEMU that saves and loads a state, or refuses to."""

    record: ProcessRecord
    fails: str = ""
    """The command that QEMU refuses."""
    commands: list[str] = field(default_factory=list)
    running_at_s: float | None = 1.0
    ended_at_s: float | None = None
    evidence: Evidence | None = None
    answers = True
    version = (7, 2)
    migration_ended: LazyEvent = field(default_factory=LazyEvent)

    async def execute(
        self, command: str, _arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        self.commands.append(command)
        if command == self.fails:
            raise Transient(f"QMP {command}: no")
        if command == "migrate":
            assert descriptors is not None
            os.write(next(iter(descriptors.values())), STATE)
        return {"status": "completed"}

    async def stop(self, _timeout_s: float, because: str = "stopped", *, paused: bool = False) -> None:
        self.commands.append(f"stop {because}{' paused' * paused}")
        self.ended_at_s, self.evidence = boottime_s(), Evidence(asked=because)

    def note_asked(self, because: str) -> None:
        self.commands.append(f"asked {because}")

    pid, has_ended = PROCESS.pid, False

    async def wait_answering(self) -> None:
        self.commands.append("answers")

    async def retire(self) -> None:
        self.commands.append("retired")

    def serve(self, record: ProcessRecord) -> None:
        self.record, self.running_at_s = record, boottime_s()


@dataclass
class Trial:
    """A controller, and all that it does."""

    controller: GuestController
    owner: Owner
    files: StateFiles
    folder: Path
    sessions: list[Session] = field(default_factory=list)
    next_fails: str = ""
    program: str = "of this inode"
    """The stamp of the QEMU that is installed."""

    @property
    def session(self) -> Session:
        return self.sessions[-1]

    def follow(self, record: ProcessRecord) -> Session:
        session = Session(record, self.next_fails)
        self.sessions.append(session)
        return session

    async def fall_asleep(self, mode: str) -> None:
        self.controller.sleeper.order(mode, "no packets")
        await self.controller.fall_asleep(HANDLES)

    async def start(self) -> None:
        await self.controller.start(StartRequest(container(), HANDLES, StartGuest(()), None))


HANDLES = ContainerHandles(INCARNATION.pid, -1, -1, Cgroup({}, None))


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    files, owner = StateFiles(tmp_path / "asleep"), Owner(GuestRecord(process=RUNNING))
    config = SimpleNamespace(curve=RestartCurve(), guest=SimpleNamespace(log_end=False))
    context: Any = SimpleNamespace(
        state_files=files, sleep_places=anyio.CapacityLimiter(1), wake_places=anyio.CapacityLimiter(1),
        counters=Counters(), config=config, chance=lambda: 0.5,
    )  # fmt: skip
    tasks: Any = None
    controller = GuestController(context, tasks, owner, INCARNATION, SocketPaths(tmp_path, ID), lambda: None)
    controller.plan = GuestPlan(GuestSpec(kernel="/k", memory_mib=1), KINDS["raw"])
    made = Trial(controller, owner, files, tmp_path / "asleep")

    async def launch(_context: object, start: Any) -> Any:
        waits = ("-incoming", "defer") if start.state.incoming else ()
        record = replace(PROCESS, command=(*COMMAND, *waits), program=made.program, sockets=start.paths.variant)
        return SimpleNamespace(process=SimpleNamespace(pid=1), record=record)

    def follow(_starter: object, _container: object, _handles: object, _plan: object, qemu: Any, **_: bool) -> Session:
        return made.follow(qemu.record)

    monkeypatch.setattr(starts, "launch", launch)
    monkeypatch.setattr(waiting_qemu, "launch", launch)
    monkeypatch.setattr(SessionStarter, "follow", follow)
    controller.session = made.follow(RUNNING)  # type: ignore[assignment]  # it stands in
    with ExitStack() as owned:
        owned.callback(controller.activity.close)
        yield made


async def test_suspended_guest_goes_on(trial: Trial) -> None:
    await trial.fall_asleep("suspend")
    assert trial.session.commands[-1] == "stop asleep paused"
    asleep = trial.owner.record.asleep
    assert asleep is not None
    assert (trial.owner.record.process, asleep.state_bytes, trial.controller.session) == (None, len(STATE), None)
    assert [path.read_bytes() for path in trial.folder.iterdir()] == [STATE]
    trial.controller.sleeper.wake("a packet")
    await trial.start()
    assert trial.session.commands[-1] == "cont"
    assert (trial.owner.record.asleep, trial.owner.record.wakes) == (None, 1)
    process, before = trial.owner.record.process, asleep.process
    assert process is not None
    assert before is not None
    assert (process.notes, process.terms, process.ready_at_s) == (before.notes, before.terms, before.ready_at_s)
    assert list(trial.folder.iterdir()) == []


@pytest.mark.parametrize("runs", [True, False])
async def test_wake_that_a_killed_daemon_began_is_completed_or_begun_again(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    async def end_unless_running(_waiting: ProcessRecord, _name: str, _paths: SocketPaths) -> bool:
        return runs

    monkeypatch.setattr(interrupted_handover, "_end_unless_running", end_unless_running)
    await trial.fall_asleep("suspend")
    trial.controller.sleeper.wake("a packet")
    waiting = replace(PROCESS, sockets=".b")
    asleep = trial.owner.record
    trial.owner.record = replace(asleep, waiting=waiting)
    await trial.controller.settle_handover(container())
    if runs:
        assert (trial.owner.record.process, trial.owner.record.asleep, trial.owner.record.wakes) == (waiting, None, 1)
        assert list(trial.folder.iterdir()) == []
    else:
        assert trial.owner.record == asleep
        assert [path.read_bytes() for path in trial.folder.iterdir()] == [STATE]


@pytest.mark.parametrize("harm", ["truncated", "refused", "another machine", "another QEMU"])
async def test_guest_boots_if_it_cannot_go_on(trial: Trial, harm: str) -> None:
    await trial.fall_asleep("suspend")
    (file,) = trial.folder.iterdir()
    match harm:
        case "truncated":
            file.write_bytes(STATE[:3])
        case "refused":
            trial.next_fails = "migrate-incoming"
        case "another QEMU":
            trial.program = "of another inode"
        case _:
            asleep = trial.owner.record.asleep
            assert asleep is not None
            assert asleep.process is not None
            process = replace(asleep.process, command=("another", *COMMAND[1:]))
            trial.owner.record = replace(trial.owner.record, asleep=replace(asleep, process=process))
    trial.controller.sleeper.wake("a packet")
    await trial.start()
    assert trial.sessions[-2].commands[-1] == "retired"
    assert "cont" not in trial.session.commands
    process_now = trial.owner.record.process
    assert process_now is not None
    assert "booted when it was woken" in process_now.notes[0]
    assert (trial.owner.record.asleep, trial.owner.record.waiting, trial.owner.record.exit_count) == (None, None, 0)
    assert list(trial.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "is_same"),
    [
        ("qemu -m 64M -netdev tap,fds=7:8,vhostfds=9:10", True),
        ("qemu -m 64M -netdev tap,fds=17:18,vhostfds=19:20 -incoming defer", True),
        ("qemu -m 64M -netdev tap,fds=7:8", False),
        ("qemu -m 65M -netdev tap,fds=7:8,vhostfds=9:10", False),
    ],
)
async def test_state_is_for_the_same_machine(command: str, is_same: bool) -> None:
    slept = replace(PROCESS, command=("qemu", "-m", "64M", "-netdev", "tap,fds=1:2,vhostfds=3:4"))
    with nullcontext() if is_same else pytest.raises(Permanent, match="its machine would be another one now"):
        check_same_start(Sleep("suspend", "", process=slept), replace(PROCESS, command=tuple(command.split())), ())


async def test_state_of_a_guest_with_a_snapshot_is_for_a_qemu_that_has_the_memory_alone() -> None:
    moved, alone = (
        ("qemu", "-object", "x,size=1M,share=off", "-incoming", "defer"),
        ("qemu", "-object", "x,size=1M,share=on"),
    )
    check_same_start(Sleep("suspend", "", process=replace(PROCESS, command=moved)), replace(PROCESS, command=alone), ())


async def test_guest_that_cannot_be_saved_goes_on_in_its_qemu(trial: Trial) -> None:
    trial.session.fails = "migrate"
    await trial.fall_asleep("suspend")
    assert "no" in trial.owner.record.sleep_failure
    assert trial.controller.session is not None
    await trial.controller.resume()
    assert trial.session.commands[-1] == "cont"
    assert (trial.owner.record.asleep, trial.owner.record.process) == (None, trial.owner.record.process)
    assert list(trial.folder.iterdir()) == []


async def test_stopped_guest_boots(trial: Trial) -> None:
    await trial.fall_asleep("stop")
    assert trial.session.commands == ["stop asleep"]
    trial.controller.sleeper.wake("an operator")
    await trial.start()
    assert trial.session.commands == []
    assert trial.owner.record.wakes == 1
    assert trial.owner.record.restarts == trial.owner.record.ordered_restarts == 0


async def test_guest_that_crashes_while_it_is_saved_has_crashed(trial: Trial) -> None:
    trial.controller.sleeper.order("suspend", "no packets")
    trial.session.evidence, trial.session.ended_at_s = Evidence(panicked=True), boottime_s()
    trial.controller.settle()
    record = trial.owner.record
    assert (record.asleep, record.exits[-1].reason, record.not_before_s > 0) == (None, "guest-panic", True)


async def test_sleep_that_is_forgotten_leaves_no_state(trial: Trial) -> None:
    await trial.fall_asleep("suspend")
    trial.controller.sleeper.forget()
    assert trial.owner.record == sleep.forgotten(trial.owner.record)
    assert list(trial.folder.iterdir()) == []
