"""What `vtapd top` draws."""

import pytest
from rich.console import Console

from supervisor.cli.top_table import draw, format_size, page_height
from supervisor.core.report.load import Order
from supervisor.core.report.schema import Load
from supervisor.core.report.top_view import View
from tests.unit.test_load import load

WIDE = 200
EVERY_TITLE = "NAME STATE GUEST READY CPU % MEM LIMIT RX/s TX/s READ/s WRITE/s RESTARTS RESTORES UPTIME PIDS"


def drawn(loads: list[Load], view: View | None = None, width: int = WIDE, height: int = 20, trouble: str = "") -> str:
    console = Console(width=width, height=height)
    with console.capture() as captured:
        console.print(draw(loads, view or View(), width, height, trouble))
    return captured.get()


def header(text: str) -> str:
    return " ".join(text.splitlines()[2].split())


def test_wide_terminal_shows_every_column() -> None:
    row = load(cpu_percent=12.34, receive_bytes_per_s=2048.0, memory_limit_bytes=1 << 26, backoff_s=3.25)
    text = drawn([row | {"state": "backoff"}])
    assert header(text) == EVERY_TITLE
    assert text.splitlines()[3].split() == (
        [
            "web",
            "backoff",
            "3.2s",
            "rumprun",
            "yes",
            "12.3",
            "1.0M",
            "64.0M",
            "2.0K",
            "-",
            "-",
            "-",
            "1",
            "3",
            "5.0s",
            "4",
        ]
    )


@pytest.mark.parametrize("width", range(20, 130, 7))
def test_no_line_is_wider_than_the_terminal_and_state_is_whole(width: int) -> None:
    rows = [load(name=f"compose-project-web-{number}", state="rejected") for number in range(30)]
    lines = drawn(rows, width=width, height=10).splitlines()
    assert len(lines) == 10
    assert max(map(len, lines)) <= width
    assert all("rejected" in line for line in lines[3:9]) or width < 30


def test_narrow_terminal_keeps_state_processor_memory_network_and_restarts() -> None:
    assert header(drawn([load(name="x" * 60)], width=80)) == "NAME STATE GUEST READY CPU % MEM RX/s TX/s RESTARTS"


def test_name_cannot_control_the_terminal() -> None:
    text = drawn([load(name="\x1b[2J[red]x", guest="\x1b]0;x\x07", state="\n")], View(filter="x\x1b"))
    assert "\x1b" not in text
    text = drawn([load(name="\x1b[2J[red]x", guest="\x1b]0;x\x07", state="\n")])
    assert "\x1b" not in text
    assert "\\x1b[2J[red]x" in text
    assert "\\x1b]0;x\\x07" in text


def test_title_says_what_is_shown() -> None:
    rows = [load(name=f"web{number}") for number in range(30)]
    assert "30 containers  rows 6 to 21  by name" in drawn(rows, View(order=Order.NAME, first=5))
    assert "rows 15 to 30" in drawn(rows, View(first=100))
    typing = View(filter="web2", typing=True, is_reversed=True)
    assert "11 of 30 containers  by cpu, reversed  filter: web2_" in drawn(rows, typing)
    assert "1 container  by" in drawn(rows[:1])
    assert "0 containers" in drawn([])


def test_trouble_replaces_the_help() -> None:
    assert "q quit" in drawn([])
    assert drawn([], trouble="no daemon").splitlines()[-1].strip() == "no daemon"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "-"), (0, "0"), (999, "999"), (1000, "1.0K"), (1536, "1.5K"), (102300, "99.9K"), (102349, "100K"),
     (1 << 20, "1.0M"), (67 << 20, "67.0M"), (500 << 20, "500M"), (1 << 50, "1.0P"), (1 << 62, "4096.0P")],
)  # fmt: skip
def test_size(count: int | None, shown: str) -> None:
    assert format_size(count) == shown


def test_tiny_terminal_shows_a_row() -> None:
    assert page_height(2) == 1
