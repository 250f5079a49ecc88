"""One scrape of the daemon's metrics, read with Prometheus' own parser."""

from collections.abc import Iterator
from functools import cached_property

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.text))

    @property
    def types(self) -> dict[str, str]:
        return {family.name: family.type for family in self._families}

    def series(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and values of a metric. Only its lines are parsed; to parse all takes much longer."""
        lines = "".join(f"{line}\n" for line in self.text.splitlines() if line.startswith(name))
        for family in text_string_to_metric_families(lines):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield dict(sample.labels), sample.value

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels; 0 if there are none."""
        return sum(value for _, value in self.series(name, **labels))

    def of_container(self, container: str) -> set[str]:
        """The names of all series about one container."""
        samples = (sample for family in self._families for sample in family.samples)
        return {sample.name for sample in samples if sample.labels.get("container") == container}

    # The few that tests wait for again and again

    def exits(self, container: str, reason: str = "") -> int:
        labels = {"container": container} | ({"reason": reason} if reason else {})
        return int(self.value("vtapd_guest_exits_total", **labels))

    def restarts(self, container: str) -> int:
        return int(self.value("vtapd_guest_restarts_total", container=container))

    def guest_up(self, container: str) -> bool:
        return self.value("vtapd_guest_up", container=container) == 1

    def states(self) -> dict[str, int]:
        return {labels["state"]: int(value) for labels, value in self.series("vtapd_guests") if value}
