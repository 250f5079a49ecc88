"""Put a guest to sleep once nothing was sent to it or by it for as long as `vtapd.idle` says.

The kernel counts the packets. The count is read four times in that time, and nothing wakes the daemon in between.
"""

from collections.abc import Callable, Sequence
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.core.attach.state import Seen
from supervisor.core.container import Incarnation
from supervisor.core.guest.idle_spec import Idle
from supervisor.edges.kernel import netns, process
from supervisor.edges.kernel.packet_counter import PacketCounter
from supervisor.errors import ContainerGone, Step, VtapdError
from supervisor.guest.controller import GuestController

_LOOKS = 4

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class IdleWatch:
    """`keep_up` it in every pass; `close` it before the guest's controller."""

    def __init__(self, incarnation: Incarnation, guest: GuestController, mark: Callable[[], None]) -> None:
        self._incarnation = incarnation
        self._guest = guest
        self._mark = mark
        self._watched: tuple[object, ...] | None = None
        """The QEMU and the taps that are watched; None if none are."""
        self._scope = anyio.CancelScope()

    def keep_up(self, tasks: anyio.abc.TaskGroup, seen: Seen | None, *, paused: bool) -> None:
        """Watch the guest, if it is one that may fall asleep now, and begin again if it is another one."""
        plan, session = self._guest.plan, self._guest.session
        idle = plan.spec.idle if plan is not None else None
        if idle is None or session is None or seen is None or paused or not self._may_sleep():
            self.close()
            return
        taps = tuple(each.tap.name for each in seen.interfaces if each.tap is not None)
        watched = (session.pid, idle, *taps)
        if watched != self._watched:
            self.close()
            self._watched, self._scope = watched, anyio.CancelScope()
            tasks.start_soon(self._run, self._scope, idle, taps)

    def close(self) -> None:
        """Watch nothing."""
        self._scope.cancel()
        if self._watched is not None:
            self._guest.activity.close()
        self._watched = None

    def _may_sleep(self) -> bool:
        return self._guest.is_ready and self._guest.record.asleep is None

    async def _run(self, scope: anyio.CancelScope, idle: Idle, taps: Sequence[str]) -> None:
        with scope:
            try:
                self._guest.activity.count(partial(self._open, taps))
                await self._wait_idle(idle)
                self._guest.sleeper.order(idle.mode, f"no packets for {idle.after_s:g} s")
            except (VtapdError, OSError) as error:
                log.debug("idleness_not_watched", error=str(error))
                await anyio.sleep(idle.after_s)
        if self._scope is scope:
            self.close()
            self._mark()

    def _open(self, taps: Sequence[str], probes: Sequence[int]) -> Sequence[PacketCounter]:
        if process.has_ended(self._incarnation):
            raise ContainerGone("the container has ended", step=Step.SLEEP)
        return netns.call_inside(self._incarnation.pid, partial(_open_all, taps, probes))

    async def _wait_idle(self, idle: Idle) -> None:
        still = 0
        while still < _LOOKS or self._guest.activity.is_probed:
            await anyio.sleep(idle.after_s / _LOOKS)
            busy = self._guest.activity.was_active() or self._guest.console_hub.keeps_awake
            still = 0 if busy else still + 1


def _open_all(taps: Sequence[str], probes: Sequence[int]) -> Sequence[PacketCounter]:
    opened: list[PacketCounter] = []
    try:
        opened += (PacketCounter(tap, probes) for tap in taps)
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened
