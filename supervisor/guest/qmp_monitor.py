"""Keep a QMP connection to one QEMU while it runs: connect, reconnect, and check whether QEMU still answers.

It sends nothing periodically: the caller starts each check with `ask`. Time in which QEMU is not let run does not count
as silence: its container is frozen (`docker pause`) or throttled, or the host is suspended.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.stillness import share_let_run, was_held
from supervisor.edges.kernel.cgroup_activity import observe_activity
from supervisor.edges.qemu.migration import is_end
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.errors import Step, Transient
from supervisor.lazy_event import LazyEvent

_TICKS = 10
"""The patience is divided into this many parts. A part counts unless the container is frozen in it."""
_PROMPT_S = 0.1
_RECONNECT_S = 0.1
_RETURN_S = 1.0


class QmpMonitor:
    """The QMP of one QEMU. `run` it in a task group."""

    def __init__(self, path: Path, cgroup: Cgroup, patience_s: float) -> None:
        """`patience_s`: how long QEMU may take for an answer."""
        self.answered = LazyEvent()
        """Set once QEMU has answered for the first time, or never will."""
        self.shutdown_reason: str | None = None
        """The reason in QEMU's first SHUTDOWN event."""
        self.panicked = False
        """Whether QEMU reported that the guest panicked."""
        self.migration_ended = LazyEvent()
        """Set when QEMU reports the end of a migration. After that, there is a new one."""
        self.on_filter_change: Callable[[], object] = lambda: None
        """Called when a guest has changed which frames one of its cards takes."""
        self._path = path
        self._cgroup = cgroup
        self._patience_s = patience_s
        self._qmp = QmpSession(self._note_event)
        self._asked = LazyEvent()
        self._exited = LazyEvent()
        self._wake = LazyEvent()
        """Set when a question is answered or QEMU has exited. Each question has its own."""
        self._hung_up = LazyEvent()

    async def run(self, on_answer: Callable[[], None]) -> None:
        """Return when QEMU was silent for longer than the patience, or has exited.

        `on_answer` is called at its first answer. If this is cancelled, it closes the connection.
        """
        try:
            answers = await self._answers(self._connect)
            while answers:
                if not self.answered.is_set():
                    self.answered.set()
                    on_answer()
                await self._asked.wait()
                self._asked = LazyEvent()
                answers = await self._answers_at_once() or await self._answers(self._query)
            if self._exited.is_set():
                await self._qmp.close()
        finally:
            self.answered.set()
            self._qmp.hang_up()
            self._hung_up.set()

    def ask(self) -> None:
        """Check soon whether QEMU still answers."""
        self._asked.set()

    async def powerdown(self) -> None:
        """Press the ACPI power button once QEMU answers. A QEMU that refuses is ignored."""
        await self.answered.wait()
        try:
            await self._qmp.execute("system_powerdown")
        except Transient:
            return  # the caller has a deadline for the guest's exit in any case

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        """Send the descriptors that a command names, then the command. Return the answer.

        Raises Transient if QEMU refuses the command, is gone, or does not answer within the patience.
        """
        with anyio.move_on_after(self._patience_s):
            await self.answered.wait()
            return await self._qmp.execute(command, arguments, descriptors)
        raise Transient(f"QEMU did not answer within {self._patience_s:g} s", step=Step.QMP)

    @property
    def version(self) -> tuple[int, int]:
        """QEMU's major and minor version; (0, 0) before it has answered."""
        return self._qmp.version

    async def add_descriptor(self, descriptor: int) -> int:
        """Send QEMU a duplicate that it can open as a file, /dev/fdset/N. Return N. Raises as `execute`."""
        with anyio.move_on_after(self._patience_s):
            await self.answered.wait()
            return await self._qmp.add_descriptor(descriptor)
        raise Transient(f"QEMU did not answer within {self._patience_s:g} s", step=Step.QMP)

    async def screendump(self, descriptor: int) -> None:
        """Write the guest's screen as PPM to this file, which must be open for writing only. Raises as `execute`."""
        with anyio.move_on_after(self._patience_s):
            await self.answered.wait()
            fdset = await self._qmp.add_descriptor(descriptor)
            try:
                await self._qmp.execute("screendump", {"filename": f"/dev/fdset/{fdset}"})
            finally:
                with anyio.move_on_after(_RETURN_S, shield=True), suppress(Transient):
                    await self._qmp.execute("remove-fd", {"fdset-id": fdset})
            return
        raise Transient(f"QEMU did not answer within {self._patience_s:g} s", step=Step.QMP)

    async def finish(self) -> None:
        """Receive the last events of a QEMU that has exited, then close the connection."""
        self._exited.set()
        self._wake.set()
        self._asked.set()
        await self._hung_up.wait()

    def _note_event(self, name: str, data: dict[str, object]) -> None:
        if name == "SHUTDOWN" and self.shutdown_reason is None:
            self.shutdown_reason = str(data.get("reason", ""))
        elif name == "GUEST_PANICKED":
            self.panicked = True
        elif name == "NIC_RX_FILTER_CHANGED":
            self.on_filter_change()
        elif is_end(name, data):
            self.migration_ended.set()
            self.migration_ended = LazyEvent()

    async def _answers_at_once(self) -> bool:
        """Ask, and return whether the answer comes as soon as it mostly does: nothing else has to be looked at then."""
        if self._exited.is_set():
            return False
        with anyio.move_on_after(_PROMPT_S), suppress(Transient):
            await self._qmp.execute("query-status")
            return True
        return False

    async def _answers(self, question: Callable[[], Awaitable[None]]) -> bool:
        """Ask, and return whether the answer comes before QEMU exits and before the patience ends."""
        if self._exited.is_set():
            return False
        answered = False
        self._wake = wake = LazyEvent()

        async def put() -> None:
            nonlocal answered
            await question()
            answered = True
            wake.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            ticks, began = 0, observe_activity(self._cgroup)
            last, share = began, 1.0
            while ticks * share < _TICKS:
                with anyio.move_on_after(self._patience_s / _TICKS):
                    await wake.wait()
                if wake.is_set():
                    break
                now = observe_activity(self._cgroup)
                ticks += not was_held(last, now)
                last, share = now, share_let_run(began, now)
            if not answered:
                tasks.cancel_scope.cancel()
        return answered

    async def _connect(self) -> None:
        while True:
            try:
                await self._qmp.connect(self._path)
                return
            except Transient:
                self._qmp.hang_up()
                await anyio.sleep(_RECONNECT_S)

    async def _query(self) -> None:
        try:
            await self._qmp.execute("query-status")
        except Transient:
            self._qmp.hang_up()
            await self._connect()
