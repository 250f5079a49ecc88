"""QEMU's monitor, kept for as long as a guest lives: connected, connected again, and asked whether it still answers.

Nothing is asked by a clock of its own: whoever wants to know calls `ask`. Time in which the container is frozen
(`docker pause`) does not count against QEMU.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.edges.kernel import cgroups
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.errors import Step, Transient

_TICKS = 10
"""Into so many parts the patience is divided, each of which counts unless the container is frozen at its end."""
_RECONNECT_S = 0.1
_RETURN_S = 1.0


class Monitor:
    """One QEMU's QMP, over as many connections as it takes. `run` it in a task group."""

    def __init__(
        self,
        name: str,
        path: Path,
        cgroup: Cgroup,
        patience_s: float,
        on_event: Callable[[str, dict[str, object]], None],
    ) -> None:
        self.answered = anyio.Event()
        """Set once it has answered for the first time, or never will."""
        self._path = path
        self._cgroup = cgroup
        self._patience_s = patience_s
        self._qmp = QmpSession(name, on_event)
        self._asked = anyio.Event()
        self._over = anyio.Event()
        self._news = anyio.Event()
        """Set at the answer to a question, or at the end; exchanged with each question."""
        self._hung_up = anyio.Event()

    async def run(self, on_answer: Callable[[], None]) -> None:
        """Returns when QEMU was silent for longer than the patience allows, or has ended; cancelled, it hangs up."""
        try:
            question = self._connect
            while await self._answers(question):
                if not self.answered.is_set():
                    self.answered.set()
                    on_answer()
                await self._asked.wait()
                self._asked = anyio.Event()
                question = self._query
            if self._over.is_set():
                await self._qmp.close()
        finally:
            self.answered.set()
            await self._qmp.hang_up()
            self._hung_up.set()

    def ask(self) -> None:
        """Find out, soon, whether QEMU still answers."""
        self._asked.set()

    async def powerdown(self) -> None:
        """Press the ACPI power button, once QEMU answers; nothing where it refuses."""
        await self.answered.wait()
        try:
            await self._qmp.execute("system_powerdown")
        except Transient:
            return  # the caller has a deadline for the guest's end, whatever came of this

    async def execute(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        """One command and its answer, with the descriptors that it names handed over first.

        Raises Transient where QEMU refuses it, is gone, or does not answer within its patience.
        """
        with anyio.move_on_after(self._patience_s):
            await self.answered.wait()
            for name, descriptor in (descriptors or {}).items():
                await self._qmp.pass_descriptor(name, descriptor)
            return await self._qmp.execute(command, arguments)
        raise Transient(f"QEMU did not answer within {self._patience_s:g} s", step=Step.QMP)

    async def screendump(self, descriptor: int) -> None:
        """Have it write what is on the guest's screen, as PPM, to a file that is open for writing alone.

        Raises Transient as `execute` does.
        """
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

    async def last_words(self) -> None:
        """QEMU has ended: take in what it still said."""
        self._over.set()
        self._news.set()
        self._asked.set()
        await self._hung_up.wait()

    async def _answers(self, question: Callable[[], Awaitable[None]]) -> bool:
        """Whether the answer comes before the end, and before the patience does."""
        if self._over.is_set():
            return False
        answered = False
        self._news = news = anyio.Event()

        async def put() -> None:
            nonlocal answered
            await question()
            answered = True
            news.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            silent = 0
            while silent < _TICKS and not news.is_set():
                with anyio.move_on_after(self._patience_s / _TICKS):
                    await news.wait()
                silent += not (news.is_set() or cgroups.is_frozen(self._cgroup))
            if not answered:
                tasks.cancel_scope.cancel()
        return answered

    async def _connect(self) -> None:
        while True:
            try:
                await self._qmp.connect(self._path)
                return
            except Transient:
                await self._qmp.hang_up()
                await anyio.sleep(_RECONNECT_S)

    async def _query(self) -> None:
        try:
            await self._qmp.execute("query-status")
        except Transient:
            await self._qmp.hang_up()
            await self._connect()
