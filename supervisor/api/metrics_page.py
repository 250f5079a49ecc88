"""One scrape: what the loop knows is noted in the loop, what the kernel counts is read and all is written in a thread.

So the loop gives a few microseconds for each guest, and whoever scrapes, however often, takes one thread at a time.
"""

import gzip
from collections.abc import Callable, Mapping
from functools import partial

import anyio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from supervisor.container.reconciler import Reconciler
from supervisor.container.status import state_of
from supervisor.container.worker import Worker
from supervisor.core.model import Incarnation, Pid
from supervisor.edges.kernel import process, tap
from supervisor.edges.threads import run_in_thread
from supervisor.guest.qemu_process import boottime_s
from supervisor.observability.metrics import GuestSample, StateCollector, Usage

_OPENMETRICS = "application/openmetrics-text"


class Page:
    """What Prometheus reads: the registry's counters, and the daemon's state as `state` tells it in the loop."""

    def __init__(self, registry: CollectorRegistry, state: Callable[[], StateCollector]) -> None:
        self._registry = registry
        self._state = state
        self._one = anyio.Lock()

    async def render(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """The page as these headers of a request ask for it, and the headers that say what it is.

        Raises Transient when no thread can be started.
        """
        async with self._one:
            return await run_in_thread(partial(self._write, self._state(), accept, accept_encoding))

    def _write(self, state: StateCollector, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        scrape = CollectorRegistry()
        scrape.register(self._registry)
        scrape.register(state)
        # Not the library's choose_encoder, which fails over a version that is no number.
        if _OPENMETRICS in accept:
            text = openmetrics.generate_latest(scrape)  # type: ignore[no-untyped-call]  # prometheus-client does not annotate it
            headers = {"Content-Type": openmetrics.CONTENT_TYPE_LATEST}
        else:
            text, headers = generate_latest(scrape), {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        if "gzip" not in accept_encoding:
            return text, headers
        return gzip.compress(text), headers | {"Content-Encoding": "gzip"}


def sample_all(reconciler: Reconciler) -> StateCollector:
    """Return the state of all containers, for a scrape."""
    workers = reconciler.workers.values()
    samples = (sample(worker) for worker in workers if worker.container is not None)
    attached = sum(worker.attached for worker in workers)
    return StateCollector(attached, [each for each in samples if each is not None])


def sample(worker: Worker) -> GuestSample | None:
    """The guest's part of a scrape, or None where there is no guest. Asks nothing of the kernel."""
    run = worker.current
    if run is None or run.keeper.plan is None:
        return None
    plan, guest, session = run.keeper.plan, run.guest, run.keeper.session
    qemu = Incarnation(session.pid, session.record.start_ticks) if session else None
    waiting = session is None and guest.done is None
    return GuestSample(
        container=worker.name,
        guest=plan.kind.name,
        state=state_of(worker),
        up=session is not None and session.running_at_s is not None,
        restarts=guest.restarts,
        exits=guest.exit_counts,
        backoff_s=max(0.0, guest.not_before_s - boottime_s()) if waiting else 0.0,
        observe_usage=partial(observe_usage, run.incarnation.pid, qemu, _interfaces(worker)),
    )


def _interfaces(worker: Worker) -> dict[str, str]:
    """By tap, each interface that the guest has, or will have once it is started again."""
    run, record = worker.current, worker.ledger.record
    if run is None or record is None:
        return {}
    session = run.keeper.session
    return {
        entry.tap: entry.interface for entry in record.taps if session is None or entry.slot in session.record.slots
    }


def observe_usage(init: Pid, qemu: Incarnation | None, interfaces: Mapping[str, str]) -> Usage:
    """Ask the kernel of a guest's QEMU, if it has one, and of its interfaces, which are named by their taps."""
    used = process.observe_usage(qemu) if qemu is not None else None
    counted = tap.observe_traffic(init, interfaces)
    return Usage(
        cpu_s=used[0] if used else None,
        resident_bytes=used[1] if used else None,
        traffic={interfaces[name]: traffic for name, traffic in counted.items()},
    )
