"""Classify how a guest exited, and decide whether and when it starts again."""

import signal
from dataclasses import dataclass, replace

from supervisor.core.backoff import Backoff
from supervisor.core.guest.failed_starts import TRIES, cannot_succeed, is_of_a_start, why_failed
from supervisor.core.guest.snapshot import why_not_kept
from supervisor.core.guest.spec import RestartPolicy
from supervisor.core.kinds.kind import GuestKind, Verdict
from supervisor.core.record import Exit, GuestRecord, ProcessRecord, SnapshotRecord

MAX_EXITS = 20
"""How many exits a record keeps."""

RESTORE_RESULTS = ("restored", "failed", "outdated")
"""The ends of a restore: the guest runs, QEMU did not take the snapshot, the snapshot belongs to another start."""

NOT_CRASHES = frozenset({"stopped", "container-gone"})

EXIT_REASONS = {
    "guest-exit": "The guest ended by itself, with its exit code if the kind reports one. Code 0 is a clean exit.",
    "guest-panic": "The guest's system or program crashed.",
    "guest-reset": "The guest reset its machine, by intention or by a triple fault.",
    "qemu-exit": "QEMU itself ended, with this exit code.",
    "qemu-signal": "A signal ended QEMU, other than for a stop or a hang. The code is the signal's number.",
    "oom-kill": "The kernel killed QEMU because the container's memory limit was reached.",
    "hang": "The guest did not answer the checks of `vtapd.alive`, or QEMU did not answer for `[guest] hang_after`.",
    "stopped": "An operator stopped the guest (`vtapd stop`, `docker stop`).",
    "container-gone": "The container ended, and its guest with it.",
}
"""Each reason for which a guest ends, and what it means."""

_SHUTDOWN_REASONS = {
    "guest-shutdown": ("guest-exit", 0),
    "guest-reset": ("guest-reset", None),
    "subsystem-reset": ("guest-reset", None),
    "guest-panic": ("guest-panic", None),
    "host-signal": ("qemu-signal", int(signal.SIGTERM)),
}
"""QMP's ShutdownCause (qapi/run-state.json) → a reason and its code. Other causes are not about the guest."""


@dataclass(frozen=True, slots=True)
class RestartCurve:
    """Delays grow geometrically from first_s to max_s within `steps` restarts, then stay there."""

    first_s: float = 0.1
    max_s: float = 60.0
    steps: int = 8
    jitter: float = 0.1
    """A fraction of the delay, added or subtracted."""
    reset_after_s: float = 60.0
    """A guest that ran this long was healthy: after its next crash the curve starts again."""

    def delay_s(self, crashes: int, chance: float) -> float:
        """Return the delay after this many crashes in a row; `chance` in [0, 1) chooses within ± jitter."""
        growth = (self.max_s / self.first_s) ** (1 / self.steps)
        return Backoff(self.first_s, self.max_s, growth).delay_s(crashes) * (1 + self.jitter * (2 * chance - 1))


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was observed of one run of QEMU when it exited."""

    status: int | None = None
    """Exit code, or minus the signal. None if it is unknown, since an earlier daemon started this QEMU."""
    shutdown: str | None = None
    """The reason in QMP's SHUTDOWN event."""
    panicked: bool = False
    """Whether QMP's event GUEST_PANICKED was received."""
    verdict: Verdict | None = None
    """The verdict of the console's lines."""
    asked: str | None = None
    """`stopped`, `hang` or `asleep`, if the daemon ended it for that reason."""
    oom: bool = False
    container_gone: bool = False
    complaint: str = ""
    """What QEMU wrote to standard error. After an error of QEMU, the exit status is not the guest's."""
    detail: str = ""
    """A line of QEMU, or of the guest's console."""
    ran: bool = True
    """Whether the guest may have run: QEMU answered, or something was printed."""


def classify(evidence: Evidence, kind: GuestKind) -> Exit:
    """Return the reason of this exit. What caused it has priority over how it appeared."""
    reason, code = _reason(evidence, kind)
    by_itself = reason in ("qemu-exit", "qemu-signal") and is_of_a_start(evidence.complaint, evidence.status)
    return Exit(reason, code, evidence.detail, never_ran=by_itself and not evidence.ran)


def _reason(evidence: Evidence, kind: GuestKind) -> tuple[str, int | None]:
    if evidence.asked:
        return evidence.asked, None
    if evidence.container_gone:
        return "container-gone", None
    if evidence.oom:
        return "oom-kill", None
    if evidence.verdict:
        return evidence.verdict.reason, evidence.verdict.code
    if evidence.panicked:
        return "guest-panic", None
    if verdict := _verdict_of_status(evidence, kind):
        return verdict.reason, verdict.code
    if evidence.shutdown in _SHUTDOWN_REASONS:
        return _SHUTDOWN_REASONS[evidence.shutdown]
    if evidence.status is not None and evidence.status < 0:
        return "qemu-signal", -evidence.status
    return "qemu-exit", evidence.status


def _verdict_of_status(evidence: Evidence, kind: GuestKind) -> Verdict | None:
    """Return what the guest reported by an exit device. Since QEMU 8.2 only the status shows that it was one."""
    failed_itself = evidence.complaint and "warning: " not in evidence.complaint
    if kind.verdict_of_status is None or evidence.status is None or failed_itself:
        return None
    return kind.verdict_of_status(evidence.status)


def describe_end(exit: Exit) -> str:
    """Return a message about the exit, for those who watch the console.

    It says what comes next only if the restart policy decided that: after an operator's stop, a start may follow.
    """
    ended = f"the guest ended ({summary_of_end(exit)})"
    if exit.delay_s is not None:
        return f"{ended}; the next one starts in {exit.delay_s:g} s"
    return ended if exit.reason in NOT_CRASHES else f"{ended}; none follows"


def line_of_end(exit: Exit) -> str:
    """Return the line about the exit for the container's log."""
    return f"vtapd: {summary_of_end(exit)}{f': {exit.detail}' if exit.detail else ''}"


def summary_of_end(exit: Exit) -> str:
    """Return the exit in a word or two, such as `guest-exit 7`."""
    return exit.reason if exit.code is None else f"{exit.reason} {exit.code}"


def is_clean(exit: Exit) -> bool:
    """Return whether the guest exited by itself with success."""
    return exit.reason == "guest-exit" and exit.code == 0


def is_crash(exit: Exit) -> bool:
    """Return whether the guest ended neither with success, nor because an operator or its container ended it."""
    return not is_clean(exit) and exit.reason not in NOT_CRASHES


def started_by_operator(guest: GuestRecord) -> GuestRecord:
    """Return the record for a start by an operator: it is due at once, and the restart curve begins again."""
    return replace(guest, done=None, failure="", crashes=0, failed_starts=0, not_before_s=0.0, asleep=None)


def after_failed_start(guest: GuestRecord, curve: RestartCurve, now_s: float, chance: float) -> GuestRecord:
    """Return the record after no QEMU could be started. This may pass, so that the guest is not failed."""
    failed_starts = guest.failed_starts + 1
    return replace(guest, failed_starts=failed_starts, not_before_s=now_s + curve.delay_s(failed_starts, chance))


def keeps_network(guest: GuestRecord) -> bool:
    """Return whether the container has its own network while its guest waits: it has no guest that could use it."""
    return guest.failed_starts >= TRIES


def after_start(guest: GuestRecord, process: ProcessRecord) -> GuestRecord:
    """Return the record after a start of QEMU."""
    fresh = replace(guest, process=process, failed_starts=0, not_before_s=0.0, done=None, failure="", asleep=None)
    if guest.asleep is not None:
        return replace(fresh, wakes=guest.wakes + 1)
    if not guest.exits:
        return fresh
    if guest.exits[-1].delay_s is not None:
        return replace(fresh, restarts=guest.restarts + 1)
    return replace(fresh, ordered_restarts=guest.ordered_restarts + 1)


def after_hand_over(guest: GuestRecord, snapshot: SnapshotRecord) -> GuestRecord:
    """Return the record after the guest went on in the QEMU that waited, and left its snapshot."""
    assert guest.waiting is not None, "a guest is handed over to a QEMU that waits"
    return replace(guest, process=guest.waiting, waiting=None, snapshot=snapshot, snapshot_note="")


def after_refresh(guest: GuestRecord) -> GuestRecord:
    """Return the record after the guest went on in another QEMU, which its snapshot does not belong to."""
    note = "It has no snapshot: it was moved to another QEMU. Its next start takes one." if guest.snapshot else ""
    assert guest.waiting is not None, "a guest is handed over to a QEMU that waits"
    return replace(guest, process=guest.waiting, waiting=None, snapshot=None, snapshot_note=note)


def after_restore(guest: GuestRecord, now_s: float) -> GuestRecord:
    """Return the record after the snapshot was restored in the QEMU that waited. `now_s`: seconds since boot."""
    assert guest.waiting is not None, "a snapshot is restored in a QEMU that waits"
    process = replace(guest.waiting, spawned_at_s=now_s, restored=True)
    return after_start(with_restore(replace(guest, waiting=None), "restored"), process)


def after_wake(guest: GuestRecord) -> GuestRecord:
    """Return the record after a guest that slept went on in the QEMU that waited for its state."""
    assert guest.waiting is not None, "a guest that slept goes on in a QEMU that waits"
    return after_start(replace(guest, waiting=None), guest.waiting)


def with_restore(guest: GuestRecord, result: str) -> GuestRecord:
    """Return the record with one restore more that ended like this, one of RESTORE_RESULTS."""
    counts = guest.restore_counts | {result: guest.restore_counts.get(result, 0) + 1}
    return replace(guest, restore_counts=counts)


def after_end(
    guest: GuestRecord, exit: Exit, policy: RestartPolicy, curve: RestartCurve, now_s: float, chance: float
) -> GuestRecord:
    """Return the record after QEMU exited: with the time of the next start, or `done`.

    The first start after a crash is due at once if it restores a snapshot. `now_s` is in seconds since boot, `chance`
    in [0, 1).
    """
    uptime_s = now_s - guest.process.spawned_at_s if guest.process else 0.0
    crashed = is_crash(exit)
    before = 0 if uptime_s >= curve.reset_after_s else guest.crashes
    hopeless = crashed and cannot_succeed(guest.exits, exit, before + 1)
    starts_again = _starts_again(policy, exit, before, crashed) and not hopeless
    # Under `always` a clean exit has the delay of a crash: a guest that exits at once must not restart in a busy loop.
    crashes = before + 1 if crashed or starts_again else 0
    snapshot, note = _kept_snapshot(guest, uptime_s, curve, crashed=crashed and starts_again)
    delay_s = curve.delay_s(crashes, chance) if starts_again else None
    if snapshot is not None and before == 0:
        delay_s = 0.0
    ended = replace(exit, uptime_s=round(uptime_s, 3), delay_s=None if delay_s is None else round(delay_s, 3))
    counts = guest.exit_counts | {exit.reason: guest.exit_counts.get(exit.reason, 0) + 1}
    return replace(
        guest,
        process=None,
        asleep=None,
        crashes=crashes,
        not_before_s=0.0 if delay_s is None else now_s + delay_s,
        done=None if starts_again else ("failed" if crashed else "exited"),
        failure=why_failed(exit) if hopeless else "",
        snapshot=snapshot,
        snapshot_note=guest.snapshot_note if guest.snapshot is None else "",
        boot_note=note,
        exits=(*guest.exits, ended)[-MAX_EXITS:],
        exit_counts=counts,
    )


def _kept_snapshot(
    guest: GuestRecord, uptime_s: float, curve: RestartCurve, *, crashed: bool
) -> tuple[SnapshotRecord | None, str]:
    """Return the snapshot that the next start restores, and otherwise why it boots, if that needs an explanation."""
    if guest.snapshot is None:
        return None, ""
    why = why_not_kept(guest.process, crashed=crashed, uptime_s=uptime_s, reset_after_s=curve.reset_after_s)
    if not why:
        return guest.snapshot, ""
    return None, f"Its last start booted it: {why}." if crashed else ""


def _starts_again(policy: RestartPolicy, exit: Exit, crashes_before: int, crashed: bool) -> bool:
    if exit.reason in NOT_CRASHES:
        return False
    match policy.mode:
        case "no":
            return False
        case "on-failure":
            return crashed and (policy.limit is None or crashes_before < policy.limit)
        case _:
            return True
