"""Keep what failed on a container's interfaces until it is over, and decide when each step is tried again.

A step that may succeed by itself is tried again after growing delays. One that needs an operator is tried at intervals,
too, because nothing reports that a file was removed or a module was loaded. It is logged and counted once.
"""

import math
from collections.abc import Iterator

import structlog

from supervisor.core.attach.actions import Attempt, CreateTap
from supervisor.core.attach.state import Desired, Resting, Seen, SeenInterface
from supervisor.core.attach.troubles import Trouble, is_over
from supervisor.core.backoff import Backoff
from supervisor.core.record import Record
from supervisor.edges.clock import boottime_s
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError
from supervisor.observability.metrics import Counters

RETRY = Backoff(first_s=0.1, last_s=30.0)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def error_of_machine(error: OSError) -> Transient:
    """Return the error of a call that no edge expects to fail: the machine lacks descriptors, memory or disk."""
    remedy = "see what the machine is short of: ulimit -n, df"
    return Transient(error.strerror or str(error), step=Step.SYSTEM, remedy=remedy)


class Troubles:
    """What failed on one run of a container."""

    def __init__(self, counters: Counters, name: str) -> None:
        self._counters = counters
        self._name = name
        self._by_attempt: dict[Attempt, Trouble] = {}
        self._looked_at_s = 0.0
        """When the last pass over the container began. What was due then is tried when the plan comes to it."""

    def all(self) -> tuple[Trouble, ...]:
        """Return them all, the first one first."""
        return tuple(self._by_attempt.values())

    def attempts(self) -> Resting:
        """Return what failed, whether it is due again or not."""
        return frozenset(self._by_attempt)

    def resting(self) -> Resting:
        """Begin a pass: return what failed and is not due again."""
        self._looked_at_s = boottime_s()
        return frozenset(trouble.attempt for trouble in self._waiting())

    def _waiting(self) -> Iterator[Trouble]:
        return (trouble for trouble in self._by_attempt.values() if trouble.retry_at_s > self._looked_at_s)

    @property
    def is_brief(self) -> bool:
        """Whether an interface may be in order in a moment."""
        return any(trouble.is_brief for trouble in self._waiting())

    def due_s(self) -> float | None:
        """Return in how many seconds the next one is due; None if none is before something changes.

        What was due in the last pass and was not tried then waits for something else, such as the guest's next start.
        """
        next_s = min((trouble.retry_at_s for trouble in self._waiting()), default=math.inf)
        return None if next_s == math.inf else max(0.0, next_s - boottime_s())

    def note(self, attempt: Attempt, seen: Seen, error: Transient | Permanent) -> None:
        """Note that the attempt failed, and let it rest."""
        if attempt.interface is not None:
            error.concern(attempt.interface)
        error.concern(f"container {self._name}")
        before = self._by_attempt.get(attempt)
        failures = before.failures + 1 if before else 1
        delay_s = RETRY.last_s if isinstance(error, Permanent) else RETRY.delay_s(failures)
        each = seen.of(attempt.interface) if attempt.interface else None
        index = each.interface.index if each else None
        trouble = Trouble(attempt, error, index, failures, boottime_s() + delay_s)
        self._by_attempt[attempt] = trouble
        if isinstance(error, ContainerGone):
            log.debug("container_ended_meanwhile", step=error.step, error=str(error))
        elif before is None or str(before.error) != str(error) or delay_s < RETRY.last_s:
            self._counters.attach_failures.labels(error.step).inc()
            _log(trouble, error, delay_s)

    def note_obstacles(self, seen: Seen) -> None:
        """Let no tap be tried on an interface that cannot have one, and let it be tried at once when it can."""
        for each in seen.interfaces:
            attempt = Attempt(CreateTap, each.interface.name)
            known = self._by_attempt.get(attempt)
            if each.wanted and each.tap is None and each.obstacle:
                if known is None or each.obstacle not in known.error.message:
                    self.note(attempt, seen, _obstructed(each))
                self._by_attempt[attempt] = self._by_attempt[attempt].due_at(math.inf)
            elif known is not None and known.retry_at_s == math.inf:
                self.end(attempt)

    def end(self, attempt: Attempt) -> None:
        """Note that the attempt succeeded."""
        self._by_attempt.pop(attempt, None)

    def sweep(self, desired: Desired, seen: Seen, record: Record | None) -> None:
        """Forget what is over."""
        for attempt, trouble in tuple(self._by_attempt.items()):
            if is_over(trouble, desired, seen, record):
                del self._by_attempt[attempt]

    def retry_now(self) -> None:
        """Let nothing rest: Docker, the configuration or an operator says something new."""
        for attempt, trouble in self._by_attempt.items():
            self._by_attempt[attempt] = trouble.due_at(0.0)


def _obstructed(each: SeenInterface) -> Permanent:
    remedy = "detach it there, or set the label vtapd.enable=false"
    said = f"cannot create a macvtap on {each.interface.name}: {each.obstacle}"
    return Permanent(said, step=Step.MACVTAP, remedy=remedy)


def _log(trouble: Trouble, error: VtapdError, delay_s: float) -> None:
    interface = trouble.attempt.interface
    if trouble.is_of_link:
        log.warning("private_link_missing", step=error.step, interface=interface, error=str(error), delay_s=delay_s)
    elif trouble.is_permanent and trouble.is_undo:
        log.error("undo_failed", step=error.step, interface=interface, error=str(error))
    elif trouble.is_permanent:
        log.error("attach_failed", step=error.step, interface=interface, error=str(error))
    else:
        log.warning("attach_retry", step=error.step, interface=interface, error=str(error), delay_s=delay_s)
