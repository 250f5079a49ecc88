"""The record of a guest that falls asleep, sleeps and is woken."""

from dataclasses import replace

from supervisor.core.guest import sleep
from supervisor.core.guest.restart import RestartCurve, after_end, after_start, after_wake, started_by_operator
from supervisor.core.guest.spec import RestartPolicy
from supervisor.core.record import Exit, GuestRecord, SnapshotRecord

from .examples import PROCESS

AWAKE = GuestRecord(process=PROCESS, exits=(Exit("guest-panic", delay_s=0.1),), restarts=1)
FALLING = sleep.falls_asleep(AWAKE, "stop", "no packets for 5 s")
ENDING = sleep.ends(FALLING)
ASLEEP = sleep.asleep(ENDING, 200.0, "2026-01-01T00:00:00Z")
WAKING = sleep.waking(ASLEEP, 300.0, "a packet")


def test_guest_sleeps_and_wakes_without_a_restart_or_an_exit() -> None:
    assert not sleep.is_asleep_after_end(FALLING)
    assert sleep.is_asleep_after_end(ENDING)
    assert ASLEEP.asleep is not None
    assert (ASLEEP.process, ASLEEP.asleep.process, ASLEEP.asleep.since_s, ASLEEP.sleeps) == (None, PROCESS, 200.0, 1)
    assert WAKING.asleep is not None
    assert (WAKING.asleep.woken_at_s, WAKING.asleep.because) == (300.0, "a packet")
    woken = after_start(WAKING, PROCESS)
    assert (woken.asleep, woken.sleeps, woken.wakes) == (None, 1, 1)
    assert (woken.restarts, woken.ordered_restarts, woken.exits) == (1, 0, AWAKE.exits)


def test_guest_that_sleeps_has_no_snapshot_and_no_qemu_that_waits() -> None:
    snapshot = SnapshotRecord(taken_at_s=1.0, identity=(), folder="1:2")
    slept = sleep.asleep(replace(ENDING, snapshot=snapshot, snapshot_note="x", waiting=PROCESS), 200.0, "")
    assert (slept.snapshot, slept.snapshot_note, slept.waiting) == (None, "", None)


def test_guest_goes_on_in_the_qemu_that_waited_for_its_state() -> None:
    waiting = replace(PROCESS, spawned_at_s=299.0)
    woken = after_wake(replace(WAKING, waiting=waiting))
    assert (woken.process, woken.waiting, woken.asleep, woken.wakes) == (waiting, None, None, 1)
    lost = sleep.lost(replace(WAKING, waiting=waiting), "it is truncated")
    assert (lost.process, lost.waiting) == (None, None)


def test_guest_whose_state_is_lost_boots() -> None:
    suspended = sleep.asleep(sleep.ends(sleep.falls_asleep(AWAKE, "suspend", "an operator"), 9, ("1:2",)), 200.0, "")
    assert suspended.asleep is not None
    assert (suspended.asleep.state_bytes, suspended.asleep.disks) == (9, ("1:2",))
    assert sleep.is_kept(suspended)
    assert not sleep.is_kept(ASLEEP)
    assert not sleep.is_kept(AWAKE)
    lost = sleep.lost(suspended, "it is truncated")
    assert lost.asleep is not None
    assert (sleep.is_kept(lost), lost.asleep.lost) == (False, "it is truncated")


def test_only_a_guest_that_runs_falls_asleep() -> None:
    assert sleep.falls_asleep(GuestRecord(), "stop", "an operator") == GuestRecord()
    assert sleep.falls_asleep(FALLING, "stop", "an operator") == FALLING


def test_first_reason_to_wake_holds() -> None:
    assert sleep.waking(WAKING, 400.0, "an operator") == WAKING
    assert sleep.waking(AWAKE, 400.0, "a packet") == AWAKE


def test_guest_that_cannot_be_put_to_sleep_stays_awake_with_the_reason() -> None:
    kept = sleep.stays_awake(sleep.cannot_sleep(FALLING, 110.0, "no room"))
    assert (kept.asleep, kept.process, kept.sleep_failure) == (None, PROCESS, "no room")
    assert sleep.falls_asleep(kept, "stop", "an operator").sleep_failure == ""


def test_operator_or_crash_ends_the_sleep() -> None:
    assert sleep.forgotten(ASLEEP) == replace(ASLEEP, asleep=None)
    assert started_by_operator(ASLEEP).asleep is None
    crashed = after_end(FALLING, Exit("guest-panic"), RestartPolicy(), RestartCurve(), 150.0, 0.5)
    assert (crashed.asleep, crashed.exit_counts) == (None, {"guest-panic": 1})
