"""What the panels of the dashboard show: each query's lines with their legend, and values with their unit."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any  # the dashboard's JSON, and Prometheus'

from tests.harness.machine import REPOSITORY

PANELS: list[dict[str, Any]] = json.loads((REPOSITORY / "config" / "grafana" / "vtapd.json").read_text())["panels"]
SCRAPE_S = 15
UNITS: dict[str, tuple[float, tuple[str, ...]]] = {
    "bytes": (1024.0, ("B", "KiB", "MiB", "GiB")),
    "bps": (1000.0, ("b/s", "kb/s", "Mb/s", "Gb/s")),
    "pps": (1000.0, ("p/s", "kp/s", "Mp/s")),
    "reqps": (1000.0, ("req/s", "kreq/s")),
    "cps": (1000.0, ("c/s", "kc/s")),
    "ops": (1000.0, ("ops/s", "kops/s")),
    "short": (1000.0, ("", "K", "Mil")),
    "none": (1e9, ("",)),
}
"""How Grafana shows a value (packages/grafana-data/src/valueFormats): the factor from each unit to the next."""


@dataclass(frozen=True)
class Asked:
    """How the dashboard's variables are set, and how an expression is answered."""

    answer: Callable[[str, int], list[dict[str, Any]]]
    """Return the series of an expression, with a value each so many seconds."""
    instance: str
    container: str

    def series(self, panel: dict[str, Any]) -> list["Line"]:
        lines = []
        step_s = 60 if panel.get("interval") == "1m" else SCRAPE_S
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$instance", self.instance).replace("$container", self.container)
            interval_s = max(step_s + SCRAPE_S, 4 * SCRAPE_S)  # Grafana's own formula
            for found in self.answer(text.replace("$__rate_interval", f"{interval_s}s"), step_s):
                values = [(float(at), float(value)) for at, value in found["values"] if value != "NaN"]
                lines.append(Line(legend(target["legendFormat"], found["metric"]), values))
        return sorted(lines, key=lambda line: line.name)


@dataclass(frozen=True)
class Line:
    name: str
    values: list[tuple[float, float]]


def legend(form: str, labels: dict[str, str]) -> str:
    if form == "__auto":
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def format_value(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 and value else f"{value:.3g} s"
    factor, names = UNITS[unit]
    place = 0
    while abs(value) >= factor and place < len(names) - 1:
        value, place = value / factor, place + 1
    return f"{value:.3g} {names[place]}".strip()
