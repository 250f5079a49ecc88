"""Asks one guest over its network: until it is ready, and from then on whether it still answers.

Time in which the container is frozen (`docker pause`) does not count against it.
"""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from supervisor.core.backoff import Backoff
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.console_scanner import ConsoleSearch
from supervisor.core.guest.health_spec import Aliveness, Question, Readiness
from supervisor.core.guest.regex import compile_pattern
from supervisor.core.model import Pid, Whereabouts
from supervisor.edges.kernel import cgroups
from supervisor.edges.probes import direct
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.beside import answers_beside

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_READY_POLL = Backoff(first_s=0.02, last_s=1.0, growth=1.5)
_LONGEST_ANSWER_S = 5.0


Way = Callable[[Whereabouts, Question, float], Awaitable[bool]]


class Health:
    """`run` it once QEMU runs."""

    def __init__(
        self,
        init: Pid,
        where: Whereabouts | None,
        ready: Readiness | None,
        alive: Aliveness | None,
        cgroup: Cgroup,
        patience_s: float,
    ) -> None:
        """`init`: the container's. `patience_s`: within which a guest that is asked must have answered once."""
        self._init = init
        self._where = where
        self._way: Way | None = None
        """By which it has answered; until then it is asked by each."""
        self._ready = ready
        self._alive = alive
        self._cgroup = cgroup
        self._patience_s = patience_s
        self._search = ConsoleSearch(compile_pattern(ready.pattern)) if ready and ready.pattern else None
        self._said = anyio.Event()

    def hear(self, data: bytes) -> None:
        """What the console says."""
        if self._search is not None and not self._said.is_set() and self._search.feed(data):
            self._said.set()

    async def run(self, on_ready: Callable[[], None], *, is_ready: bool) -> str | None:
        """Returns what it left unanswered, once it hangs; None where it is not asked to stay alive.

        `is_ready`: it was found so before, by an earlier daemon.
        """
        if self._ready is not None and not is_ready:
            await self._await_ready(self._ready)
            on_ready()
        if self._alive is None:
            return None
        await self._watch(self._alive, first_patience_s=0.0 if self._ready or is_ready else self._patience_s)
        return str(self._alive)

    async def _await_ready(self, ready: Readiness) -> None:
        if ready.question is None:
            await self._said.wait()
            return
        for delay_s in _READY_POLL.delays_s():
            if await self._answers(ready.question, _LONGEST_ANSWER_S):
                return
            await anyio.sleep(delay_s)

    async def _watch(self, alive: Aliveness, first_patience_s: float) -> None:
        """Returns once it hangs. Silence before the first answer is told from that after it only by its length."""
        fails, silent_s, heard = 0, 0.0, False
        while fails < alive.fails or (not heard and silent_s < first_patience_s):
            await anyio.sleep(alive.every_s)
            if cgroups.is_frozen(self._cgroup):
                continue
            answers = await self._answers(alive.question, min(alive.every_s, _LONGEST_ANSWER_S))
            if answers:
                fails, heard = 0, True
            elif answers is False and not cgroups.is_frozen(self._cgroup):
                fails, silent_s = fails + 1, silent_s + alive.every_s

    async def _answers(self, question: Question, timeout_s: float) -> bool | None:
        """None where nobody can know just now."""
        if self._where is None:
            raise Permanent(
                "nobody knows its address", step=Step.HEALTH, remedy="connect it to a network: docker network"
            )
        try:
            for way in (self._way,) if self._way else (self._ask_from_host, self._ask_beside):
                if await way(self._where, question, timeout_s):
                    self._way = way
                    return True
        except Transient as error:
            log.warning("health_probe_failed", error=str(error))
            return None
        return False

    async def _ask_from_host(self, where: Whereabouts, question: Question, timeout_s: float) -> bool:
        if question.port is None:
            return await direct.answers_ping(where.ip, timeout_s)
        return await direct.accepts_tcp(where.ip, question.port, timeout_s)

    async def _ask_beside(self, where: Whereabouts, question: Question, timeout_s: float) -> bool:
        return await answers_beside(self._init, where, question, timeout_s)
