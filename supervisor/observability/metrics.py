"""Prometheus metrics: counters that the daemon keeps, and gauges read off its state at each scrape.

What belongs to a container is read from its status at each scrape, so no series outlives its container.
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

GUEST_STATES = ("booting", "running", "ready", "asleep", "paused", "backoff", "exited", "failed")
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
    sleeps: int
    wakes: int
    console_dropped_bytes: int
    dns_queries: Mapping[str, int]
    """By result."""
    observe_usage: Callable[[], Usage]
    """Asks the kernel; from any thread."""
    restores: Mapping[str, int] = field(default_factory=dict)
    """By result."""
    snapshot_bytes: int = 0
    """0 without a snapshot."""


Usages = Sequence[tuple[str, Usage]]
"""Each with its container's name."""


class Counters:
    """What is counted as it happens."""

    def __init__(self) -> None:
        # Without this each counter has a second series, which the interface does not promise.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client does not annotate it
        self.registry = CollectorRegistry()
        Gauge(
            "vtapd_build_info",
            "The version of the daemon, as a label; the value is 1.",
            ["version"],
            registry=self.registry,
        ).labels(program_version()).set(1)
        self.docker_connected = Gauge(
            "vtapd_docker_connected", "1 if Docker's event stream is open, else 0.", registry=self.registry
        )
        self.docker_events = Counter(
            "vtapd_docker_events_total", "Docker events that the daemon received.", ["action"], registry=self.registry
        )
        self.attach_seconds = Histogram(
            "vtapd_attach_seconds",
            "Time from Docker's event to the last step of the attachment.",
            buckets=_FAST_BUCKETS,
            registry=self.registry,
        )
        self.attach_failures = Counter(
            "vtapd_attach_failures_total", "Steps of attachments that failed.", ["step"], registry=self.registry
        )
        self.rule_repairs = Counter(
            "vtapd_device_rule_repairs_total",
            "Device rules that another program removed and that were put back.",
            registry=self.registry,
        )
        self.guest_start_seconds = Histogram(
            "vtapd_guest_start_seconds",
            "Time from the start of QEMU until the guest runs.",
            buckets=_BOOT_BUCKETS,
            registry=self.registry,
        )
        self.guest_ready_seconds = Histogram(
            "vtapd_guest_ready_seconds",
            "Time from the start of QEMU until the guest is ready.",
            buckets=_BOOT_BUCKETS,
            registry=self.registry,
        )
        self.guest_wake_seconds = Histogram(
            "vtapd_guest_wake_seconds",
            "Time from the packet, or whatever else wakes a guest that sleeps, until it runs.",
            buckets=_BOOT_BUCKETS,
            registry=self.registry,
        )
        self.guest_restore_seconds = Histogram(
            "vtapd_guest_restore_seconds",
            "Time from the beginning of a restore from a snapshot until the guest runs.",
            buckets=_FAST_BUCKETS,
            registry=self.registry,
        )


class StateCollector(Collector):
    """The daemon's state at one moment, for one scrape."""

    def __init__(self, attachments: int, guests: Sequence[GuestSample]) -> None:
        self._attachments = attachments
        self._guests = guests

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("vtapd_attachments", "Containers that are attached.", value=self._attachments)
        yield _states(self._guests)
        yield from _lives(self._guests)
        usages = [(guest.container, guest.observe_usage()) for guest in self._guests]
        yield from _processes(usages)
        yield from _traffic(usages)


def _states(samples: Sequence[GuestSample]) -> Metric:
    family = GaugeMetricFamily("vtapd_guests", "Guests in each state.", labels=["state"])
    tally = Tally(sample.state for sample in samples)
    for state in GUEST_STATES:
        family.add_metric([state], tally[state])
    return family


def _lives(samples: Sequence[GuestSample]) -> Iterator[Metric]:
    up = GaugeMetricFamily("vtapd_guest_up", "1 if the guest runs, else 0.", labels=["container", "guest"])
    restarts = CounterMetricFamily(
        "vtapd_guest_restarts",
        "Restarts of the guest after a crash, in this run of the container. Those by an operator are not counted.",
        labels=["container"],
    )
    exits = CounterMetricFamily("vtapd_guest_exits", "Exits of the guest, by reason.", labels=["container", "reason"])
    backoff = GaugeMetricFamily(
        "vtapd_guest_backoff_seconds",
        "Time until the guest is started again; 0 if no start is due.",
        labels=["container"],
    )
    sleeps = CounterMetricFamily(
        "vtapd_guest_sleeps", "How often the guest fell asleep, in this run of the container.", labels=["container"]
    )
    wakes = CounterMetricFamily(
        "vtapd_guest_wakes", "How often the guest was woken, in this run of the container.", labels=["container"]
    )
    dropped = CounterMetricFamily(
        "vtapd_guest_console_dropped_bytes",
        "Console output that the container's log did not take in time.",
        labels=["container"],
    )
    queries = CounterMetricFamily(
        "vtapd_dns_queries",
        "DNS queries of the guest on its private link, by result: answered, hosts, failed, dropped or malformed.",
        labels=["container", "result"],
    )
    restores = CounterMetricFamily(
        "vtapd_guest_restores",
        "Restores of the guest from its snapshot after a crash, by result: restored, failed or outdated.",
        labels=["container", "result"],
    )
    snapshot = GaugeMetricFamily(
        "vtapd_snapshot_bytes", "Memory that the guest's snapshot takes, if it has one.", labels=["container"]
    )
    for sample in samples:
        if sample.snapshot_bytes:
            snapshot.add_metric([sample.container], sample.snapshot_bytes)
        for result, count in sample.restores.items():
            restores.add_metric([sample.container, result], count)
        up.add_metric([sample.container, sample.guest], sample.up)
        restarts.add_metric([sample.container], sample.restarts)
        backoff.add_metric([sample.container], sample.backoff_s)
        sleeps.add_metric([sample.container], sample.sleeps)
        wakes.add_metric([sample.container], sample.wakes)
        dropped.add_metric([sample.container], sample.console_dropped_bytes)
        for reason, count in sample.exits.items():
            exits.add_metric([sample.container, reason], count)
        for result, count in sample.dns_queries.items():
            queries.add_metric([sample.container, result], count)
    yield from (up, restarts, exits, backoff, sleeps, wakes, dropped, queries, restores, snapshot)


def _processes(usages: Usages) -> Iterator[Metric]:
    cpu = CounterMetricFamily(
        "vtapd_guest_cpu_seconds", "Processor time that the guest's QEMU used.", labels=["container"]
    )
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
            f"Network {unit} that the guest {direction}s.",
            labels=["container", "interface"],
        )
        for container, usage in usages:
            for interface, traffic in usage.traffic.items():
                family.add_metric([container, interface], counted(traffic))
        yield family
