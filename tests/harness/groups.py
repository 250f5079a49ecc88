"""Groups of tests for pytest-xdist: those of one group run on one worker, one after another.

A group is a file and a view of cgroups; of the files in SPLIT each test is a group.
The groups that took longest come first, so that no long one is left for the end, when the other workers idle.
`--write-durations` records how long they took. A wrong number there costs time and nothing else.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

DURATIONS = Path(__file__).parents[1] / "durations.json"
UNKNOWN_S = 30.0
"""For a group that was not measured: it starts early."""

SPLIT = {"test_every_prefix.py"}
_VIEW = re.compile(r"\[(host|v2|remapped)[-\]]")


def group_of(test: str) -> str:
    """By the test's node id."""
    path, _, name = test.partition("::")
    if Path(path).name in SPLIT:
        return test
    view = _VIEW.search(name)
    return f"{path} {view[1]}" if view else path


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Sort by groups; the order within a group stays."""
    durations = _recorded()

    def order(item: pytest.Item) -> tuple[float, str]:
        group = group_of(item.nodeid)
        return -durations.get(group, UNKNOWN_S), group

    items.sort(key=order)


def _recorded() -> dict[str, float]:
    found: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    return found


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist ships no types
    """Gives the groups to the workers in the order in which the tests are collected.

    pytest-xdist's own `loadgroup` marks the groups in the tests' ids, which pytest 9.2 does not let it do.
    """

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


class DurationWriter:
    """A plugin of the process that collects the workers' reports."""

    def __init__(self) -> None:
        self._durations: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not isinstance(report, pytest.SubtestReport):  # its time is in its test's
            self._durations[group_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """A run of some of the tests leaves the durations of the others."""
        measured = _recorded() | {group: round(s, 1) for group, s in self._durations.items()}
        longest_first = dict(sorted(measured.items(), key=lambda item: -item[1]))
        DURATIONS.write_text(json.dumps(longest_first, indent=1) + "\n")
