"""The page that Prometheus scrapes, parsed as Prometheus parses it."""

import gzip
from dataclasses import replace

import anyio
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from supervisor.api.metrics_page import Page
from supervisor.core.formats.net_dev import Traffic
from supervisor.observability.metrics import GUEST_STATES, Counters, GuestSample, StateCollector, Usage

KEK = GuestSample(
    container="kek", guest="rumprun", state="running", up=True, restarts=3, exits={"guest-panic": 2, "guest-exit": 1},
    backoff_s=0.0, sleeps=4, wakes=2, console_dropped_bytes=7, dns_queries={"answered": 5, "dropped": 1},
    observe_usage=lambda: Usage(1.5, 1 << 20, {"eth0": Traffic(10, 1, 20, 2)}),
    restores={"restored": 2, "failed": 1}, snapshot_bytes=4096,
)  # fmt: skip

# CONTRACT.md, "Metrics", for what exists: (name, type, labels)
OF_STATE = {
    ("vtapd_attachments", "gauge", ()),
    ("vtapd_guests", "gauge", ("state",)),
    ("vtapd_guest_up", "gauge", ("container", "guest")),
    ("vtapd_guest_restarts_total", "counter", ("container",)),
    ("vtapd_guest_exits_total", "counter", ("container", "reason")),
    ("vtapd_guest_backoff_seconds", "gauge", ("container",)),
    ("vtapd_guest_sleeps_total", "counter", ("container",)),
    ("vtapd_guest_wakes_total", "counter", ("container",)),
    ("vtapd_guest_console_dropped_bytes_total", "counter", ("container",)),
    ("vtapd_dns_queries_total", "counter", ("container", "result")),
    ("vtapd_guest_restores_total", "counter", ("container", "result")),
    ("vtapd_snapshot_bytes", "gauge", ("container",)),
    ("vtapd_guest_cpu_seconds_total", "counter", ("container",)),
    ("vtapd_guest_resident_memory_bytes", "gauge", ("container",)),
    ("vtapd_guest_network_receive_bytes_total", "counter", ("container", "interface")),
    ("vtapd_guest_network_receive_packets_total", "counter", ("container", "interface")),
    ("vtapd_guest_network_transmit_bytes_total", "counter", ("container", "interface")),
    ("vtapd_guest_network_transmit_packets_total", "counter", ("container", "interface")),
}
AS_IT_HAPPENS = {
    ("vtapd_build_info", "gauge", ("version",)),
    ("vtapd_docker_connected", "gauge", ()),
    ("vtapd_docker_events_total", "counter", ("action",)),
    ("vtapd_attach_seconds", "histogram", ()),
    ("vtapd_attach_failures_total", "counter", ("step",)),
    ("vtapd_device_rule_repairs_total", "counter", ()),
    ("vtapd_guest_start_seconds", "histogram", ()),
    ("vtapd_guest_ready_seconds", "histogram", ()),
    ("vtapd_guest_wake_seconds", "histogram", ()),
    ("vtapd_guest_restore_seconds", "histogram", ()),
}


class Daemon:
    """The state that a scrape reads; tests change it between scrapes."""

    def __init__(self, *guests: GuestSample, attachments: int = 0) -> None:
        self.guests = list(guests)
        self.attachments = attachments
        self.page = Page(Counters().registry, lambda: StateCollector(self.attachments, tuple(self.guests)))

    def scrape(self, accept: str = "") -> list[Metric]:
        text = anyio.run(self.page.render, accept, "")[0].decode()
        return list((parse_openmetrics if "openmetrics" in accept else parse_text)(text))

    def value(self, name: str, **labels: str) -> float | None:
        samples = [sample for family in self.scrape() for sample in family.samples]
        values = [sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)]
        assert len(values) <= 1, "a series appears twice"
        return values[0] if values else None

    def series_of(self, container: str) -> list[str]:
        samples = [sample for family in self.scrape() for sample in family.samples]
        return [sample.name for sample in samples if sample.labels.get("container") == container]


def shapes(families: list[Metric]) -> set[tuple[str, str, tuple[str, ...]]]:
    return {
        (family.name + "_total" * (family.type == "counter"), family.type, tuple(sorted(set(sample.labels) - {"le"})))
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_guest_metrics_have_the_documented_names_types_and_labels() -> None:
    assert shapes(list(StateCollector(1, [KEK]).collect())) == OF_STATE


def test_counters_have_the_documented_names_types_and_labels() -> None:
    counters = Counters()
    counters.docker_events.labels("start").inc()
    counters.attach_failures.labels("macvtap").inc()
    assert shapes(list(counters.registry.collect())) == AS_IT_HAPPENS


def test_no_metric_name_appears_twice() -> None:
    counters = Counters()
    counters.registry.register(StateCollector(0, []))
    names = [family.name for family in counters.registry.collect()]
    assert len(names) == len(set(names))


def test_every_metric_has_a_help_text() -> None:
    families = [*StateCollector(1, [KEK]).collect(), *Counters().registry.collect()]
    assert [family.name for family in families if not family.documentation.endswith(".")] == []


def test_guest_values_are_exported() -> None:
    daemon = Daemon(KEK, attachments=4)
    assert daemon.value("vtapd_attachments") == 4
    assert daemon.value("vtapd_guest_up", container="kek", guest="rumprun") == 1
    assert daemon.value("vtapd_guest_restarts_total", container="kek") == 3
    assert daemon.value("vtapd_guest_exits_total", container="kek", reason="guest-panic") == 2
    assert daemon.value("vtapd_guest_exits_total", container="kek", reason="guest-exit") == 1
    assert daemon.value("vtapd_guest_restores_total", container="kek", result="failed") == 1
    assert daemon.value("vtapd_snapshot_bytes", container="kek") == 4096
    assert daemon.value("vtapd_guest_cpu_seconds_total", container="kek") == 1.5
    assert daemon.value("vtapd_guest_resident_memory_bytes", container="kek") == 1 << 20


def test_receive_counts_what_the_guest_receives() -> None:
    daemon = Daemon(KEK)
    for name, value in (("receive_bytes", 10), ("receive_packets", 1), ("transmit_bytes", 20), ("transmit_packets", 2)):
        assert daemon.value(f"vtapd_guest_network_{name}_total", container="kek", interface="eth0") == value


def test_guest_in_backoff_is_not_up_and_has_no_usage() -> None:
    daemon = Daemon(replace(KEK, state="backoff", up=False, backoff_s=7.5, observe_usage=Usage))
    assert daemon.value("vtapd_guest_up", container="kek", guest="rumprun") == 0
    assert daemon.value("vtapd_guest_backoff_seconds", container="kek") == 7.5
    assert daemon.value("vtapd_guest_cpu_seconds_total", container="kek") is None
    assert daemon.value("vtapd_guest_network_receive_bytes_total", container="kek", interface="eth0") is None


def test_guests_are_counted_by_state() -> None:
    daemon = Daemon(KEK, replace(KEK, container="b"), replace(KEK, container="c", state="backoff"))
    counted = {state: daemon.value("vtapd_guests", state=state) for state in GUEST_STATES}
    assert counted == {**dict.fromkeys(GUEST_STATES, 0.0), "running": 2.0, "backoff": 1.0}


def test_series_of_a_removed_container_are_gone_at_the_next_scrape() -> None:
    daemon = Daemon(KEK, replace(KEK, container="other"))
    assert daemon.series_of("kek")
    daemon.guests.pop(0)
    assert daemon.series_of("kek") == []
    assert daemon.series_of("other")


ACCEPTS = {
    "": "text/plain; version=0.0.4; charset=utf-8",
    "*/*": "text/plain; version=0.0.4; charset=utf-8",
    "text/plain;version=1.x": "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text;version=1.x": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    # Prometheus 2.42 and 3
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;"
    "version=0.0.4;q=0.5,*/*;q=0.1": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


@pytest.mark.parametrize("accept", ACCEPTS)
def test_format_is_negotiated_by_the_accept_header(accept: str) -> None:
    daemon = Daemon(KEK)
    assert anyio.run(daemon.page.render, accept, "")[1] == {"Content-Type": ACCEPTS[accept]}
    assert len(daemon.scrape(ACCEPTS[accept])) == len(OF_STATE | AS_IT_HAPPENS)


def test_page_is_compressed_on_request() -> None:
    page = Daemon(KEK).page
    plain, _ = anyio.run(page.render, "", "identity")
    compressed, headers = anyio.run(page.render, "", "gzip, deflate")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed) == plain
