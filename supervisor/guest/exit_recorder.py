"""Record how a guest's QEMU ended: that the guest sleeps now, or how it exited and what comes next."""

from dataclasses import replace

import structlog

from supervisor.container_log.files import write_line
from supervisor.core.container import Incarnation
from supervisor.core.guest import sleep
from supervisor.core.guest.restart import Evidence, after_end, classify, describe_end, is_crash, line_of_end
from supervisor.core.record import Exit, GuestRecord
from supervisor.edges.clock import utc_of
from supervisor.edges.kernel import process
from supervisor.errors import Step
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.qemu_process import SocketPaths
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session_starter import SessionStarter
from supervisor.guest.snapshots import Snapshots
from supervisor.guest.tap_queues import TapQueues
from supervisor.text import escape_controls

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ExitRecorder:
    """The ends of the QEMUs of one run of a container."""

    def __init__(
        self,
        context: GuestContext,
        incarnation: Incarnation,
        paths: SocketPaths,
        record: RunRecord,
        starter: SessionStarter,
        snapshots: Snapshots,
        taps: TapQueues,
    ) -> None:
        self._context = context
        self._incarnation = incarnation
        self._paths = paths
        self._record = record
        self._starter = starter
        self._snapshots = snapshots
        self._taps = taps

    def record_end(self, plan: GuestPlan, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        """Record it. `guest` is its record, and has the QEMU that ended. `ended_at_s` is in seconds since boot."""
        if evidence.asked == "asleep" and sleep.is_asleep_after_end(guest):
            self._record_sleep(guest, ended_at_s)
        else:
            self._record_exit(plan, guest, evidence, ended_at_s)
        variant = guest.process.sockets if guest.process else ""
        self._paths.of(variant).exit.unlink(missing_ok=True)

    def _record_sleep(self, guest: GuestRecord, ended_at_s: float) -> None:
        self._starter.console_hub.announce("the guest sleeps")
        log.info("guest_asleep")
        self._snapshots.release()
        self._record.write(sleep.asleep(guest, ended_at_s, utc_of(ended_at_s)))

    def _record_exit(self, plan: GuestPlan, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        exit = replace(classify(evidence, plan.kind), at=utc_of(ended_at_s))
        curve, chance = self._context.config.curve, self._context.chance()
        ended = after_end(guest, exit, plan.spec.restart, curve, ended_at_s, chance)
        last = ended.exits[-1]
        _log_exit(last, ended.failure)
        ended = self._starter.restore_terminal(ended)
        self._announce(last)
        if ended.done is not None:
            self._taps.close()
        if ended.snapshot is None:
            self._snapshots.release()
            ended = replace(ended, waiting=None)
        self._record.write(ended)

    def _announce(self, exit: Exit) -> None:
        """Announce it on the console, and write it into the container's log."""
        hub = self._starter.console_hub
        hub.announce(describe_end(exit))
        if self._context.config.guest.log_end and process.is_same(self._incarnation):
            between = "" if hub.is_at_line_start else "\n"
            write_line(self._incarnation.pid, between + escape_controls(line_of_end(exit)))


def _log_exit(exit: Exit, failure: str) -> None:
    (log.warning if is_crash(exit) else log.info)(
        "guest_exited",
        reason=exit.reason,
        code=exit.code,
        detail=exit.detail,
        uptime_s=exit.uptime_s,
        restart_in_s=exit.delay_s,
    )
    if failure:
        log.error("guest_failed", step=Step.START, error=failure)
