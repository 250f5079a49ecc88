"""Keeps one container's guest: starts or adopts it, stops it, and reckons up how it ended.

It holds the one descriptor of the guest's tap for the whole life of the container. What must survive the daemon it
returns as a new GuestRecord, which the worker writes.
"""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.attachment import Attachment
from supervisor.context import Context
from supervisor.core.actions import StartGuest
from supervisor.core.lifecycle import Evidence, after_end, after_start, classify
from supervisor.core.model import Container, GuestRecord, Pid, ProcessRecord
from supervisor.core.qemu import guest_name
from supervisor.edges import process, tap
from supervisor.errors import Permanent, Transient
from supervisor.guest import GuestSession, SocketPaths, boottime_s
from supervisor.launch import GuestPlan, launch

_ASK_AGAIN_S = (0.5, 1.0, 5.0, 15.0)
"""Docker may be away just when a guest is adopted; or its log driver keeps no log that can be read."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class GuestKeeper:
    """The guest of one incarnation of a container."""

    def __init__(
        self, context: Context, tasks: anyio.abc.TaskGroup, paths: SocketPaths, mark: Callable[[], None]
    ) -> None:
        self.plan: GuestPlan | None = None
        self.session: GuestSession | None = None
        self._context = context
        self.tasks = tasks
        self._paths = paths
        self._mark = mark
        self._tap: int | None = None
        self._start_counted = True

    def adopt(self, container: Container, attachment: Attachment, plan: GuestPlan, guest: GuestRecord) -> GuestRecord:
        """Take on the QEMU that an earlier daemon started, untouched; one that has ended meanwhile is reckoned up."""
        assert guest.process is not None, "only a guest on record is adopted"
        self.plan = plan
        recorded = replace(guest.process, kind=plan.kind.name)
        found = process.find(recorded, guest_name(container.id))
        if found is None:
            # Nobody knows when. That it was healthy before is not taken for granted.
            now_s = boottime_s()
            unproven = replace(guest, process=replace(recorded, spawned_at_s=now_s))
            return self._reckon(unproven, Evidence(detail="it ended while no daemon ran"), now_s)
        log.info("guest_adopted", pid=found.pid)
        self._follow(container, attachment, found, recorded, partial(self._recall, container, recorded))
        return replace(guest, process=recorded)

    async def start(
        self, container: Container, attachment: Attachment, step: StartGuest, guest: GuestRecord
    ) -> GuestRecord:
        """Start QEMU. Raises Transient where another try may help; Permanent is for the caller to `fail` with."""
        assert self.plan is not None, "a guest is started only once its image was looked at"
        if self._tap is not None and not tap.is_connected(self._tap):
            self.release()
        if self._tap is None:
            self._tap = tap.open_tap(attachment.dev, f"tap{step.slot}", step.tap.device, step.tap.name)
        tap.drain(self._tap)
        child, record = await launch(
            self._context, attachment, container, self.plan, step.original, self._tap, self._paths
        )
        self._start_counted = False
        self._follow(container, attachment, child, record)
        started = after_start(guest, record)
        log.info("guest_started", pid=child.pid, kind=self.plan.kind.name, restarts=started.restarts)
        return started

    async def stop(self) -> None:
        """End it, as an operator's stop does; nothing when there is none."""
        if self.session is not None and self.plan is not None:
            await self.session.stop(self.plan.spec.stop_timeout_s)

    def settle(self, guest: GuestRecord) -> GuestRecord:
        """Reckon up a guest that has ended, or count its start once it runs. The same record where nothing happened."""
        session = self.session
        if session is None:
            return guest
        if session.running_at_s is not None and not self._start_counted:
            self._start_counted = True
            self._context.counters.guest_start_seconds.observe(session.running_at_s - session.record.spawned_at_s)
            log.info("guest_running", after_s=round(session.running_at_s - session.record.spawned_at_s, 4))
        if session.evidence is None or session.ended_at_s is None:
            return guest
        self.session = None
        return self._reckon(guest, session.evidence, session.ended_at_s)

    def fail(self, guest: GuestRecord, error: Permanent) -> GuestRecord:
        """It cannot be started at all, until an operator acts."""
        log.error("guest_failed", step=error.step, error=str(error))
        return replace(guest, process=None, done="failed")

    def release(self) -> None:
        """Give the tap's descriptor back, once no guest will need it."""
        if self._tap is not None:
            os.close(self._tap)
            self._tap = None

    async def _recall(self, container: Container, record: ProcessRecord) -> bytes:
        """What this run of the guest has said, as far as Docker tells."""
        age_s = boottime_s() - record.spawned_at_s
        for delay_s in _ASK_AGAIN_S:
            try:
                return await self._context.docker.log(container.id, time.time() - age_s)
            except (Transient, Permanent) as error:
                log.debug("log_unknown", error=str(error))
            await anyio.sleep(delay_s)
        return b""

    def _reckon(self, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> GuestRecord:
        assert self.plan is not None
        exit = replace(classify(evidence), at=datetime.now(UTC).isoformat(timespec="milliseconds"))
        ended = after_end(
            guest, exit, self.plan.spec.restart, self._context.config.curve, ended_at_s, self._context.chance()
        )
        last = ended.exits[-1]
        log.info(
            "guest_exited",
            reason=last.reason,
            code=last.code,
            detail=last.detail,
            uptime_s=last.uptime_s,
            restart_in_s=last.delay_s,
        )
        if ended.done is not None:
            self.release()
        return ended

    def _follow(
        self,
        container: Container,
        attachment: Attachment,
        child: process.Process,
        record: ProcessRecord,
        recall: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        assert self.plan is not None
        self.session = GuestSession(
            container.id,
            Pid(container.pid),
            self.plan.kind,
            child,
            record,
            attachment.cgroup,
            self._paths,
            self._context.config.guest.hang_after,
            self._mark,
            recall,
        )
        self.tasks.start_soon(self.session.run)
