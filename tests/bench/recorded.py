"""The recorded ratios: `make bench-check` fails if a change makes one worse by a third.

Only ratios of the least disturbed values within one run are compared, and only those that hold on a busy machine; a
worse one is measured again before it counts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import Figure
from .report import machine_facts

FILE = Path(__file__).with_name("recorded.json")
CHEAP = ["attach", "idle", "resync", "command"]
WORSE = 4 / 3
KINDS = ("kernel", "cpus", "python", "docker", "qemu")
LEAST = 0.05
"""A ratio below this is negligible, and a third of it is noise."""


def record(figures: Mapping[str, Sequence[Figure]]) -> None:
    ratios = {
        figure.name: round(figure.least_disturbed, 3)
        for row in figures.values()
        for figure in row
        if figure.holds_under_load
    }
    facts = {name: fact for name, fact in machine_facts().items() if name in KINDS}
    FILE.write_text(json.dumps({"taken_on": facts, "ratios": ratios}, indent=2) + "\n")


def worse(figures: Mapping[str, Sequence[Figure]]) -> list[tuple[str, str]]:
    """Return the row and a message for each figure whose ratio is worse by a third than the recorded one."""
    ratios: dict[str, float] = json.loads(FILE.read_text())["ratios"]
    return [
        (row, f"{figure.name}: {figure.least_disturbed:.2f} {figure.direction}, recorded are {ratios[figure.name]:.2f}")
        for row, measured in figures.items()
        for figure in measured
        if figure.name in ratios and _is_worse(figure, ratios[figure.name])
    ]


def _is_worse(figure: Figure, before: float) -> bool:
    now = figure.least_disturbed
    return now * WORSE < before if figure.direction == "times faster" else now > max(before, LEAST) * WORSE
