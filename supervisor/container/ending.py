"""End a container whose guest is done for good, by ending its init.

Docker is not asked to stop it: that would count as an operator's stop, after which Docker's restart policy does not
start it again. When its init ends by itself, the policy applies as to any container, with the init's own exit status.
"""

import signal

import anyio
import anyio.abc
import anyio.lowlevel
import structlog

from supervisor.container.intent import Intent
from supervisor.core.container import Incarnation
from supervisor.core.guest.restart import NOT_CRASHES
from supervisor.edges.kernel import process
from supervisor.guest.controller import GuestController

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ContainerEnding:
    """Call `end_if_due` whenever something may have changed."""

    def __init__(
        self, incarnation: Incarnation, intent: Intent, guest: GuestController, tasks: anyio.abc.TaskGroup
    ) -> None:
        self._incarnation = incarnation
        self._intent = intent
        self._guest = guest
        self._tasks = tasks
        self._begun: anyio.CancelScope | None = None
        """Its init got the stop signal, and is killed later if it is still there."""

    def close(self) -> None:
        """Call off what was begun: the container has ended, is paused, or its guest was started again."""
        if self._begun is not None:
            self._begun.cancel()
            self._begun = None

    def end_if_due(self) -> None:
        """Do what `vtapd.on-exit=stop` asks for, and end an init that a stop signal cannot end."""
        if self._intent.container.paused or not self._guest_is_done():
            self.close()
        if self._begun is not None or self._intent.container.paused:
            return
        if self._guest_is_done():
            log.info("container_stopping", because="its guest is done", status=self._intent.exit_status)
            self._begun = anyio.CancelScope()
            self._tasks.start_soon(self._end, self._begun)
        elif self._intent.stopping and self._guest.plan and self._guest.session is None and self._ignores_stop():
            self._kill("it has no handler for the stop signal")

    def _guest_is_done(self) -> bool:
        plan, record = self._guest.plan, self._guest.record
        if plan is None or plan.spec.on_exit != "stop" or not record.done or not record.exits:
            return False
        if self._intent.stopping or self._intent.guest_stopped_by_operator:
            return False
        last = record.exits[-1]
        return last.reason not in NOT_CRASHES and not last.never_ran  # a guest that never ran is not done

    async def _end(self, scope: anyio.CancelScope) -> None:
        container = self._intent.container
        with scope:
            await anyio.lowlevel.checkpoint()  # it may have been called off before it began
            if self._ignores_stop():
                self._kill("it has no handler for the stop signal")
                return
            self._send(container.stop_signal)
            if container.stop_timeout_s >= 0:
                await anyio.sleep(container.stop_timeout_s)
                self._kill(f"it did not end within {container.stop_timeout_s:g} s after its stop signal")

    def _ignores_stop(self) -> bool:
        """Return whether a stop signal cannot end its init. The kernel shows that of vtapd-init only while it waits."""
        container = self._intent.container
        return not container.has_vtapd_init and process.ignores_signal(self._incarnation.pid, container.stop_signal)

    def _kill(self, because: str) -> None:
        """Kill the init, if it is still there."""
        if self._send(signal.SIGKILL):
            log.debug("init_killed", pid=self._incarnation.pid, because=because)

    def _send(self, number: int) -> bool:
        """Send a signal to the init. Return whether it got it; it gets it in a later pass if the machine is short."""
        try:
            return process.send_signal(self._incarnation, number)
        except OSError as error:
            log.warning("container_not_stopped", error=str(error))
            self.close()
            return False
