"""Each panel of the dashboard with a fleet of three daemons: what people read on it. `draw.py` draws it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .draw import BEGIN_S, ask, serving
from .fleet import HOSTS, openmetrics
from .panel_drawing import page
from .panels import PANELS, Asked, format_value

SHOWN = [panel for panel in PANELS if panel["type"] != "row"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with serving(tmp_path_factory.mktemp("fleet"), openmetrics(BEGIN_S)) as api:
        yield Asked(partial(ask, api), "|".join(HOSTS), ".*")


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: panel["title"])
def test_panel_has_a_unit_a_legend_and_data(fleet: Asked, panel: dict[str, object]) -> None:
    lines = fleet.series(panel)
    assert any(line.values for line in lines), "no data"
    names = [line.name for line in lines]
    assert all(names), "a line has no name"
    assert len(set(names)) == len(names), f"two daemons have lines of one name: {names}"
    assert panel["description"]


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: panel["title"])
def test_unit_is_one_that_people_can_read(panel: dict[str, dict[str, dict[str, str]]]) -> None:
    assert format_value(1500.0, panel["fieldConfig"]["defaults"]["unit"])


def test_every_panel_is_drawn(fleet: Asked) -> None:
    drawn = page(fleet)
    assert "No data" not in drawn
    assert drawn.count("<h2>") == len(PANELS)


def test_numbers_of_guests_are_zero_without_guests(tmp_path: Path) -> None:
    with serving(tmp_path, "") as api:
        drawn = page(Asked(partial(ask, api), ".*", ".*"))
    empty = {panel["title"] for panel in SHOWN if panel["fieldConfig"]["defaults"].get("noValue") == "0"}
    assert empty == {"Guests up", "Guests down"}
    assert drawn.count("<p class=none>0</p>") == 2
