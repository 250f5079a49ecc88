"""One scrape of the daemon's metrics, read with Prometheus' own parser."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    def __init__(self, text: str) -> None:
        self.text = text
        self.types: dict[str, str] = {}
        self._samples: list[tuple[str, dict[str, str], float]] = []
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            self._samples += [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]

    def series(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        for sample, found, value in self._samples:
            if sample == name and labels.items() <= found.items():
                yield found, value

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels; 0 if there are none."""
        return sum(value for _, value in self.series(name, **labels))

    def of_container(self, container: str) -> set[str]:
        """The names of all series about one container."""
        return {name for name, labels, _ in self._samples if labels.get("container") == container}

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
