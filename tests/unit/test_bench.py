"""When the benchmark check calls a ratio worse, and what a plot shows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from tests.bench import recorded
from tests.bench.figures import Figure
from tests.bench.plot import figure_svg, growth_svg
from tests.bench.report import COLUMNS, README, write_readme

Direction = Literal["times faster", "times the rival"]


def figure(ours: Sequence[float], direction: Direction, *, holds_under_load: bool = True) -> Figure:
    return Figure("it", "<it>", "a & b", "s", ours, [6.0] * len(ours), direction, holds_under_load=holds_under_load)


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "FILE", tmp_path / "recorded.json")


@pytest.mark.parametrize(
    ("before", "now", "direction", "is_worse"),
    [
        (1.0, 1.2, "times faster", False),
        (1.0, 1.4, "times faster", True),
        (1.0, 0.5, "times faster", False),
        (1.0, 1.2, "times the rival", False),
        (1.0, 1.4, "times the rival", True),
        (0.0, 0.3, "times the rival", False),
        (0.0, 0.5, "times the rival", True),
    ],
)
def test_ratio_is_worse_if_it_grew_by_a_third(before: float, now: float, direction: Direction, is_worse: bool) -> None:
    recorded.record({"row": [figure([before] * 3, direction)]})
    result = recorded.worse({"row": [figure([100 * now, now, 3 * now], direction)]})
    assert [row for row, _ in result] == ["row"] * is_worse


def test_figures_that_depend_on_load_are_not_recorded() -> None:
    recorded.record({"row": [figure([1.0], "times faster", holds_under_load=False)]})
    assert json.loads(recorded.FILE.read_text())["ratios"] == {}
    assert recorded.worse({"row": [figure([9.0], "times faster")]}) == []


def test_plots_show_every_value() -> None:
    drawn = figure_svg(figure([1.0, 2.0, 3.0], "times faster"))
    assert (drawn.count("<circle"), "&lt;it&gt;" in drawn, "a &amp; b" in drawn) == (6, True, True)
    assert growth_svg("memory", [10, 250], [60.0, 80.0], "MiB").count("<circle") == 2


def test_table_in_readme_is_replaced(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    write_readme([figure([1.0, 2.0, 3.0], "times faster")], copy)
    before, _, rest = copy.read_text().partition("<!-- begin generated: benchmark -->\n")
    block, _, after = rest.partition("<!-- end generated -->")
    rows = [line for line in block.splitlines() if line.startswith("| ")]
    assert rows[0] == f"| {' | '.join(COLUMNS)} |"
    assert rows[2:] == ["| <it> | 2.00 (1.50-2.50) s | a & b | 6.00 s | 3.00 (2.50-4.50) faster |  |"]
    assert README.read_text().startswith(before)
    assert README.read_text().endswith(after)
