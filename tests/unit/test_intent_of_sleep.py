"""What a container should have while its guest falls asleep, sleeps and is woken."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any  # the stand-ins for what the intent is given

import pytest

from supervisor.container.intent import Decision, Intent
from supervisor.core.container import Container
from supervisor.core.devices.wake_program import Wakers
from supervisor.core.formats.docker_event import Event
from supervisor.core.guest import sleep
from supervisor.core.guest.spec import AddressPlan, GuestSpec
from supervisor.core.kinds import KINDS
from supervisor.core.links import Address
from supervisor.core.record import Exit, GuestRecord, Record, TapRecord
from supervisor.edges.clock import boottime_s
from supervisor.guest.guest_plan import GuestPlan

from .examples import ETH0, ID, INCARNATION, NAME, PROCESS, container

AWAKE = GuestRecord(process=PROCESS)
FALLING = sleep.falls_asleep(AWAKE, "suspend", "no packets")
ENDING = sleep.ends(FALLING)
ASLEEP = sleep.asleep(ENDING, 200.0, "")
RUNS = object()
"""A session."""


@dataclass
class Trial:
    intent: Intent
    guest: Any

    def desired(self, record: GuestRecord, session: object | None) -> tuple[bool, bool, bool]:
        """Return whether it should run, and sleep, and be marked as ready."""
        self.guest.record, self.guest.session, self.guest.is_ready = record, session, session is not None
        desired = self.intent.desired()
        assert desired.takeover
        return desired.guest, desired.asleep, desired.ready


def trial_of(its: Container, address: AddressPlan | None = None) -> Trial:
    plan = GuestPlan(GuestSpec(kernel="/k", memory_mib=64, address=address or AddressPlan()), KINDS["rumprun"])
    guest: Any = SimpleNamespace(
        record=AWAKE,
        session=RUNS,
        plan=plan,
        is_ready=True,
        takes_cards=True,
        wants_refresh=True,
        wants_snapshot=True,
    )
    entry = TapRecord(0, "eth0", "vtap110002", original=ETH0)
    record: Any = SimpleNamespace(of=lambda _incarnation: Record(ID, NAME, INCARNATION, (entry,), guest.record))
    description: Any = SimpleNamespace(container=its)
    observer: Any = SimpleNamespace(link_address=None)
    context: Any = None
    intent = Intent(context, record, description, INCARNATION, observer, guest)
    intent._decision = Decision.MADE
    return Trial(intent, guest)


@pytest.fixture
def trial() -> Trial:
    return trial_of(container())


def woken(record: GuestRecord) -> GuestRecord:
    return sleep.waking(record, boottime_s(), "a packet")


def test_guest_falls_asleep_and_is_woken(trial: Trial) -> None:
    assert trial.desired(AWAKE, RUNS) == (True, False, True)
    assert trial.desired(FALLING, RUNS) == (False, True, True)
    assert trial.desired(ENDING, RUNS) == (False, True, True)
    assert trial.desired(ASLEEP, None) == (False, True, True)
    assert trial.desired(woken(ASLEEP), None) == (True, False, True)


def test_guest_is_called_back_only_before_its_qemu_is_ended(trial: Trial) -> None:
    assert trial.desired(woken(FALLING), RUNS) == (True, False, True)
    assert trial.desired(woken(ENDING), RUNS) == (False, True, True)


@pytest.mark.parametrize(("record", "is_moved"), [(AWAKE, True), (FALLING, False), (woken(FALLING), False)])
def test_guest_that_falls_asleep_is_neither_moved_nor_saved(trial: Trial, record: GuestRecord, is_moved: bool) -> None:
    trial.guest.record = record
    desired = trial.intent.desired()
    assert desired.refresh == desired.snapshot == is_moved


def test_nothing_is_due_while_it_sleeps(trial: Trial) -> None:
    trial.desired(ASLEEP, None)
    assert trial.intent.due_s(trial.intent.desired()) is None
    trial.desired(replace(woken(ASLEEP), not_before_s=boottime_s() + 60.0), None)
    due_s = trial.intent.due_s(trial.intent.desired())
    assert due_s is not None
    assert 50 < due_s <= 60


def test_guest_that_became_due_during_a_pass_needs_another_one(trial: Trial) -> None:
    trial.guest.record, trial.guest.session = replace(AWAKE, not_before_s=boottime_s() + 60.0), None
    wanted = trial.intent.desired()
    assert not wanted.guest
    trial.guest.record = replace(AWAKE, not_before_s=boottime_s())
    assert trial.intent.due_s(wanted) == 0.0
    assert trial.intent.due_s(trial.intent.desired()) is None, "that pass has started it, or says why not"


def test_packets_and_addresses_that_wake_it(trial: Trial) -> None:
    trial.guest.record = ASLEEP
    assert trial.intent.desired().wakers == Wakers(("172.17.0.2",), keeps_state=True)
    own = AddressPlan("static", Address(4, "172.17.0.9", 16))
    other = trial_of(container(), own)
    other.guest.record = sleep.falls_asleep(AWAKE, "stop", "no packets")
    assert other.intent.desired().wakers == Wakers(("172.17.0.9",), keeps_state=False)


def test_paused_container_wakes_no_guest() -> None:
    paused = trial_of(container(paused=True))
    assert paused.desired(woken(ASLEEP), None) == (False, True, True)
    assert paused.intent.due_s(paused.intent.desired()) is None


def test_container_that_stops_stops_its_guest(trial: Trial) -> None:
    event = Event("kill", ID, 1_794_000_000_000_000_000, 15)
    trial.intent.on_kill_event(event)
    assert trial.intent.stopping
    assert trial.desired(FALLING, RUNS) == (False, False, True)
    assert trial.desired(ASLEEP, None) == (False, True, True)
    assert trial.intent.exit_status == 143
    trial.intent.forget_stop()
    assert trial.intent.exit_status is None


def test_guest_that_crashed_before_has_no_exit_status_while_it_sleeps(trial: Trial) -> None:
    trial.desired(replace(ASLEEP, exits=(Exit("guest-panic"),)), None)
    assert trial.intent.exit_status is None
