"""Prometheus metrics: counters that the daemon keeps, and gauges read off its state at each scrape.

What belongs to a container is read at scrape time from the workers there are, so no series outlives its container.
`supervisor.api.metrics_page` says when, and in which thread.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.core.formats.net_dev import Traffic
from supervisor.version import program_version

GUEST_STATES = ("booting", "running", "ready", "backoff", "exited", "failed")
_FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BOOT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_TRAFFIC: tuple[tuple[str, str, Callable[[Traffic], int]], ...] = (
    ("receive", "bytes", lambda traffic: traffic.rx_bytes),
    ("receive", "packets", lambda traffic: traffic.rx_packets),
    ("transmit", "bytes", lambda traffic: traffic.tx_bytes),
    ("transmit", "packets", lambda traffic: traffic.tx_packets),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel counts of a guest. None: its QEMU is not there."""

    cpu_s: float | None = None
    resident_bytes: int | None = None
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    """By interface, as the guest sees it."""


@dataclass(frozen=True, slots=True)
class GuestSample:
    """One guest as it is at the moment of a scrape."""

    container: str
    guest: str
    """Its kind."""
    state: str
    up: bool
    restarts: int
    exits: dict[str, int]
    backoff_s: float
    observe_usage: Callable[[], Usage]
    """Asks the kernel; from any thread."""


Usages = Sequence[tuple[str, Usage]]
"""Each with its container's name."""


class Counters:
    """What is counted as it happens."""

    def __init__(self) -> None:
        # Without this each counter has a second series, which the interface does not promise.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client does not annotate it
        self.registry = CollectorRegistry()
        Gauge("vtapd_build_info", "The running version.", ["version"], registry=self.registry).labels(
            program_version()
        ).set(1)
        self.docker_connected = Gauge(
            "vtapd_docker_connected", "Whether Docker's event stream is open.", registry=self.registry
        )
        self.docker_events = Counter(
            "vtapd_docker_events_total", "Docker events seen.", ["action"], registry=self.registry
        )
        self.attach_seconds = Histogram(
            "vtapd_attach_seconds",
            "From Docker's event to the last step of the attachment.",
            buckets=_FAST_BUCKETS,
            registry=self.registry,
        )
        self.attach_failures = Counter(
            "vtapd_attach_failures_total", "Failed steps of attachments.", ["step"], registry=self.registry
        )
        self.rule_repairs = Counter(
            "vtapd_device_rule_repairs_total",
            "Device rules that another program removed and that were put back.",
            registry=self.registry,
        )
        self.guest_start_seconds = Histogram(
            "vtapd_guest_start_seconds",
            "From a guest's spawn to its running.",
            buckets=_BOOT_BUCKETS,
            registry=self.registry,
        )
        self.guest_ready_seconds = Histogram(
            "vtapd_guest_ready_seconds",
            "From a guest's spawn to its being ready.",
            buckets=_BOOT_BUCKETS,
            registry=self.registry,
        )


class StateCollector(Collector):
    """The daemon's state at one moment, for one scrape."""

    def __init__(self, attachments: int, guests: Sequence[GuestSample]) -> None:
        self._attachments = attachments
        self._guests = guests

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("vtapd_attachments", "Containers that have their tap.", value=self._attachments)
        yield _states(self._guests)
        yield from _lives(self._guests)
        usages = [(guest.container, guest.observe_usage()) for guest in self._guests]
        yield from _processes(usages)
        yield from _traffic(usages)


def _states(samples: Sequence[GuestSample]) -> Metric:
    family = GaugeMetricFamily("vtapd_guests", "Guests by state.", labels=["state"])
    tally = Tally(sample.state for sample in samples)
    for state in GUEST_STATES:
        family.add_metric([state], tally[state])
    return family


def _lives(samples: Sequence[GuestSample]) -> Iterator[Metric]:
    up = GaugeMetricFamily("vtapd_guest_up", "Whether the guest runs.", labels=["container", "guest"])
    restarts = CounterMetricFamily("vtapd_guest_restarts", "Restarts of the guest.", labels=["container"])
    exits = CounterMetricFamily("vtapd_guest_exits", "Ends of the guest.", labels=["container", "reason"])
    backoff = GaugeMetricFamily(
        "vtapd_guest_backoff_seconds", "What the guest still waits before its next start.", labels=["container"]
    )
    for sample in samples:
        up.add_metric([sample.container, sample.guest], sample.up)
        restarts.add_metric([sample.container], sample.restarts)
        backoff.add_metric([sample.container], sample.backoff_s)
        for reason, count in sample.exits.items():
            exits.add_metric([sample.container, reason], count)
    yield from (up, restarts, exits, backoff)


def _processes(usages: Usages) -> Iterator[Metric]:
    cpu = CounterMetricFamily("vtapd_guest_cpu_seconds", "Processor time of the guest's QEMU.", labels=["container"])
    memory = GaugeMetricFamily(
        "vtapd_guest_resident_memory_bytes", "Resident memory of the guest's QEMU.", labels=["container"]
    )
    for container, usage in usages:
        if usage.cpu_s is not None and usage.resident_bytes is not None:
            cpu.add_metric([container], usage.cpu_s)
            memory.add_metric([container], usage.resident_bytes)
    yield from (cpu, memory)


def _traffic(usages: Usages) -> Iterator[Metric]:
    for direction, unit, counted in _TRAFFIC:
        family = CounterMetricFamily(
            f"vtapd_guest_network_{direction}_{unit}",
            f"Network {unit}, {direction}, as the guest sees them.",
            labels=["container", "interface"],
        )
        for container, usage in usages:
            for interface, traffic in usage.traffic.items():
                family.add_metric([container, interface], counted(traffic))
        yield family
