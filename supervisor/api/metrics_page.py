"""Render the page for one scrape. The loop collects the statuses; a thread reads the kernel's counters and writes it.

So the loop spends a few microseconds for each guest, and scrapes take one thread at a time, however many come.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from supervisor.core.container import Incarnation, Pid
from supervisor.core.guest.restart import RESTORE_RESULTS
from supervisor.core.guest.snapshot import bytes_of
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import process, tap
from supervisor.edges.threads import run_in_thread
from supervisor.observability.metrics import GuestSample, StateCollector, Usage

_OPENMETRICS = "application/openmetrics-text"


class Page:
    """What Prometheus reads: the registry's counters, and the daemon's state, which `state` collects in the loop."""

    def __init__(self, registry: CollectorRegistry, state: Callable[[], StateCollector]) -> None:
        self._registry = registry
        self._state = state
        self._one = anyio.Lock()

    async def render(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """Return the page and its headers, in the form that the request's headers ask for.

        Raises Transient when no thread can be started.
        """
        async with self._one:
            return await run_in_thread(partial(self._write, self._state(), accept, accept_encoding))

    def _write(self, state: StateCollector, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        scrape = CollectorRegistry()
        scrape.register(self._registry)
        scrape.register(state)
        # Not the library's choose_encoder: it fails if the version is no number.
        if _OPENMETRICS in accept:
            text = openmetrics.generate_latest(scrape)  # type: ignore[no-untyped-call]  # prometheus-client does not annotate it
            headers = {"Content-Type": openmetrics.CONTENT_TYPE_LATEST}
        else:
            text, headers = generate_latest(scrape), {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        if "gzip" not in accept_encoding:
            return text, headers
        return gzip.compress(text), headers | {"Content-Encoding": "gzip"}


def sample_all(statuses: Sequence[ContainerStatus]) -> StateCollector:
    """Return the state of all containers, for a scrape."""
    samples = [sample(each, each.incarnation.pid, each.guest) for each in statuses if each.incarnation and each.guest]
    return StateCollector(sum(each.attached for each in statuses), samples)


def sample(status: ContainerStatus, init: Pid, guest: GuestStatus) -> GuestSample:
    """Return the guest's part of a scrape. Asks nothing of the kernel."""
    record, qemu = status.guest_record, guest.qemu
    waiting = qemu is None and record.done is None
    process = Incarnation(qemu.pid, qemu.start_ticks) if qemu else None
    return GuestSample(
        container=status.name,
        guest=guest.kind,
        state=status.state,
        up=guest.is_up,
        restarts=record.restarts,
        exits=record.exit_counts,
        backoff_s=max(0.0, record.not_before_s - boottime_s()) if waiting else 0.0,
        sleeps=record.sleeps,
        wakes=record.wakes,
        console_dropped_bytes=guest.console_dropped_bytes,
        dns_queries=guest.dns_queries,
        observe_usage=partial(observe_usage, init, process, _interfaces(status)),
        restores=(dict.fromkeys(RESTORE_RESULTS, 0) if guest.spec.snapshot else {}) | record.restore_counts,
        snapshot_bytes=bytes_of(record.snapshot),
    )


def _interfaces(status: ContainerStatus) -> dict[str, str]:
    """Return, by tap, each interface that the guest has, or will have once it is started again."""
    taps = status.record.taps if status.record else ()
    return {entry.tap: entry.interface for entry in taps if status.qemu is None or entry.slot in status.qemu.slots}


def observe_usage(init: Pid, qemu: Incarnation | None, interfaces: Mapping[str, str]) -> Usage:
    """Read the kernel's counters of a guest's QEMU, if one runs, and of its interfaces, named by their taps."""
    used = process.observe_usage(qemu) if qemu is not None else None
    counted = tap.observe_traffic(init, interfaces)
    return Usage(
        cpu_s=used[0] if used else None,
        resident_bytes=used[1] if used else None,
        traffic={interfaces[name]: traffic for name, traffic in counted.items()},
    )
