"""The table that the status page has for browsers that run no script."""

from html.parser import HTMLParser

from supervisor.api.status_page import page_container
from supervisor.core.report.page_table import format_table
from supervisor.core.report.schema import PageDaemonShape, PageShape
from tests.page.states import HOSTILE, container, every_state

DAEMON: PageDaemonShape = {
    "host": HOSTILE, "version": "1.2.3", "uptime_s": 1.0, "docker_connected": True, "docker": None, "qemu": None,
    "kvm": None, "kernel": "6.1",
}  # fmt: skip


class Reader(HTMLParser):
    """Collects the tags and the texts of the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert not attrs
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def read(page: PageShape) -> Reader:
    reader = Reader()
    reader.feed(format_table(page))
    return reader


def page_of(*containers: str) -> PageShape:
    statuses = [container(number, name, ignored_reason=f"{HOSTILE}\x1b") for number, name in enumerate(containers)]
    return {
        "time": "now", "daemon": DAEMON,
        "containers": [page_container(status, ()) for status in statuses], "ended": 0,
    }  # fmt: skip


def test_hostile_text_stays_text() -> None:
    reader = read(page_of(HOSTILE))
    assert reader.tags == {"p", "table", "tr", "th", "td"}
    assert (reader.rows[1][0], reader.rows[1][-1]) == (HOSTILE, HOSTILE + r"\x1b")


def test_every_container_has_a_row() -> None:
    states = every_state()
    page = page_of()
    page["containers"] = [page_container(status, ()) for status in states]
    rows = read(page).rows
    assert [row[:2] for row in rows[1:]] == [[status.name, status.state] for status in states]
    assert {len(row) for row in rows} == {8}
    assert rows[2][4:7] == ["100 s", "3", "guest-panic"]


def test_ended_containers_are_counted() -> None:
    page = page_of("web")
    assert "ended" not in format_table(page)
    page["ended"] = 3
    assert "3 ended: vtapd ps -a</p>" in format_table(page)


def test_lost_docker_is_said() -> None:
    page = page_of()
    assert "Docker connected" in format_table(page)
    page["daemon"] = {**DAEMON, "docker_connected": False}
    assert "Docker not connected" in format_table(page)
