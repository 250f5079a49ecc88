"""The page in a browser: what a person sees, by mouse, keyboard and phone, and what hostile text cannot do."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

import pytest

from supervisor.core.record import GuestRecord, Record
from supervisor.core.report.status import ContainerStatus
from supervisor.guest.console_hub import ConsoleHub
from tests.harness.waiting import eventually
from tests.page.chromium import Tab
from tests.page.server import Host, serving
from tests.page.states import ENDS, HOSTILE, SECRET, container, ended, every_state, guest
from tests.unit.examples import ID, INCARNATION

MANY = 250
ROWS = "document.querySelectorAll('tr.one:not([hidden])').length"
FOCUS = "document.activeElement.id || document.activeElement.textContent"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host(every_state(), ("consoles",))
    with serving(host):
        yield host


def show(tab: Tab, host: Host, statuses: Sequence[ContainerStatus] | None = None) -> None:
    """Open the page, and wait for a row for each container."""
    if statuses is not None:
        host.statuses = statuses
    tab.open(host.url)
    tab.await_true(f"{ROWS} === {len(host.statuses)}", "every container has a row")


def keep(tab: Tab, name: str) -> None:
    """Keep a picture for people, if PAGE_PICTURES names a folder."""
    if folder := os.environ.get("PAGE_PICTURES"):
        tab.picture(Path(folder) / f"{name}.png")


def test_health_and_every_state_are_shown(tab: Tab, host: Host) -> None:
    show(tab, host)
    health, rows = tab.text("#health"), tab.text("#rows")
    assert "20.10.24, connected" in health
    assert "usable" in health
    assert os.uname().release in health
    assert all(status.name in rows and status.state in rows for status in host.statuses)
    assert "label vtapd.args is refused" in rows
    assert SECRET not in tab.document()
    keep(tab, "states")


def test_hostile_text_is_shown_and_does_nothing(tab: Tab, host: Host) -> None:
    """In a name, a note, a console and a guest's last end."""
    hub = ConsoleHub()
    hub.publish(f"\x1b[31m{HOSTILE}\r\n".encode())
    hostile = guest(1, HOSTILE)
    host.consoles[hostile.id] = hub
    show(tab, host, [hostile])
    tab.value("document.querySelector('.name').click()")
    tab.await_true("document.querySelector('pre')?.innerText.includes('onerror')", "the console is shown")
    assert tab.text(".name") == HOSTILE
    assert tab.text("pre").rstrip("\n") == HOSTILE
    assert tab.text(".more ul") == f"Not passed to the guest: host {HOSTILE}."
    assert tab.value("document.title").startswith("vtapd on")
    assert tab.value("document.querySelectorAll('main script, td img[src=x]').length") == 0
    keep(tab, "hostile")


def test_browser_refuses_to_parse_text_as_html(tab: Tab, host: Host) -> None:
    show(tab, host)
    tried = "(() => { try { document.body.innerHTML = '<b>'; return 'parsed'; } catch (e) { return e.name; } })()"
    assert tab.value(tried) == "TypeError"
    tab.value("document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.2/'}))")
    tab.await_true("true", "the browser answers")
    assert any("img-src" in problem for problem in tab.problems)
    tab.problems.clear()


def test_search_by_mouse_and_keyboard(tab: Tab, host: Host) -> None:
    show(tab, host)
    tab.press("/")
    assert tab.value(FOCUS) == "search"
    tab.press(*"rumprun web")
    tab.await_true(f"{ROWS} === 1", "one container has both words")
    assert tab.text("#count") == f"1 of {len(host.statuses)} containers"
    tab.press("ArrowDown")
    assert tab.value(FOCUS) == "web"
    tab.press("Enter")
    tab.await_true("document.querySelector('.name[aria-expanded=true]')", "its details are open")
    assert "everything else: vtapd inspect web" in tab.text("#rows")
    tab.press("ArrowUp")
    assert tab.value(FOCUS) == "search"
    tab.press("Escape")
    tab.await_true(f"{ROWS} === {len(host.statuses)}", "all are shown again")
    tab.value("[...document.querySelectorAll('#states button')].find((b) => b.textContent === '1 failed').click()")
    tab.await_true(f"{ROWS} === 1", "one container failed")


def test_page_is_refreshed_without_a_reload(tab: Tab, host: Host) -> None:
    show(tab, host, [guest(1, "web"), container(2, "plain")])
    tab.value("document.querySelector('.name').focus()")
    network = "document.querySelectorAll('.one svg')[2].getAttribute('aria-label')"
    tab.await_true(f"{network}.includes('B/s, at most')", "a curve is drawn")
    assert tab.value("document.querySelectorAll('polyline').length") >= 2
    host.statuses = [container(3, "another"), guest(1, "web", ready=True)]
    tab.await_true("document.querySelector('#rows').innerText.includes('another')", "a new container has a row")
    assert "plain" not in tab.text("#rows")
    assert "ready" in tab.text("#rows")
    assert tab.value(FOCUS) == "web", "the keyboard lost its place"


def test_ended_containers_are_shown_if_asked_for(tab: Tab, host: Host) -> None:
    show(tab, host, [guest(1, "web", ready=True)])
    assert tab.value("document.querySelector('#ended-shown').hidden"), "nothing has ended"
    minutes_ago = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    done = GuestRecord(done="failed", exits=ENDS, restarts=2)
    host.ended = [
        ended(container(2, "plain"), "2026-01-02T03:04:05.678+00:00"),
        ended(replace(guest(3, "batch", runs=False), record=Record(ID, "batch", INCARNATION, guest=done)), minutes_ago),
    ]
    tab.await_true("!document.querySelector('#ended-shown').hidden", "the page offers them")
    assert tab.text("#ended-shown").strip() == "show 2 ended"
    assert tab.value(ROWS) == 1
    tab.value("document.querySelector('#ended').click()")
    tab.await_true(f"{ROWS} === 3", "they are listed")
    names = "[...document.querySelectorAll('tr.one .name')].map((name) => name.textContent).join()"
    assert tab.value(names) == "web,batch,plain", "the last one that ended is the first of them"
    row = "document.querySelectorAll('tr.one')[1].innerText"
    tab.resize(1280, 800)
    shown = tab.value(row)
    assert all(words in shown for words in ("failed", "ended 3 min ago", "guest-panic 7", "\t2")), shown
    tab.value("document.querySelectorAll('.name')[1].click()")
    tab.await_true("document.querySelector('pre')?.innerText === 'last words of batch'", "the end of its log is shown")
    keep(tab, "ended")
    tab.value("document.querySelector('#ended').click()")
    tab.await_true(f"{ROWS} === 1", "only those that run are listed")


def test_daemon_that_is_gone_and_comes_back(tab: Tab) -> None:
    host = Host([guest(1, "web")])
    with serving(host):
        show(tab, host)
        assert tab.value("document.querySelector('#alarm').hidden")
    tab.await_true("!document.querySelector('#alarm').hidden", "the page says that the daemon is gone")
    assert "vtapd does not answer" in tab.text("#alarm")
    assert "web" in tab.text("#rows"), "what was known is still shown"
    keep(tab, "gone")
    with serving(host):
        tab.await_true("document.querySelector('#alarm').hidden", "the alarm ends")
    tab.problems.clear()  # the requests that failed


def test_lost_docker_is_shown(tab: Tab, host: Host) -> None:
    host.connected, host.kvm = False, False
    show(tab, host)
    assert "not connected" in tab.text("#health")
    assert "not usable" in tab.text("#health")


def test_many_containers(tab: Tab, host: Host) -> None:
    show(tab, host, [guest(number, f"kek{number}") for number in range(MANY)])
    assert tab.text("#count") == f"{MANY} containers"
    drawn_ms = tab.value("(() => { const t = performance.now(); filter(); return performance.now() - t; })()")
    assert drawn_ms < 1000, "the page would not answer the keyboard"
    keep(tab, "many")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_colour_schemes(tab: Tab, host: Host, scheme: str) -> None:
    tab.open("about:blank")
    tab.resize(390, 844)
    tab.prefer(scheme)
    tab.go(host.url)
    tab.await_true(f"{ROWS} === {len(host.statuses)}", "every container has a row")
    assert tab.value("document.documentElement.scrollWidth") <= 390, "a phone would scroll sideways"
    colours = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colours[4:-1].split(","))) < 380) == (scheme == "dark")
    keep(tab, f"phone-{scheme}")


@pytest.mark.parametrize("width", [800, 980, 1120, 1280, 1920])
def test_no_width_needs_scrolling_sideways(tab: Tab, host: Host, width: int) -> None:
    tab.open("about:blank")
    tab.resize(width, 800)
    tab.go(host.url)
    tab.await_true(f"{ROWS} === {len(host.statuses)}", "every container has a row")
    assert tab.value("document.documentElement.scrollWidth") <= width


def test_screen_is_asked_for_only_while_it_is_shown(tab: Tab, host: Host) -> None:
    """These made-up guests have no QEMU to draw it, so the picture stays hidden."""
    host.show = ()
    show(tab, host)
    tab.value("document.querySelectorAll('.name').forEach((name) => name.click())")
    tab.await_true("document.querySelectorAll('.more section').length > 10", "all details are open")
    assert tab.value("document.querySelectorAll('.more img[src], .more pre:not(:empty)').length") == 0


def test_plain_table_without_scripts(tab: Tab, host: Host) -> None:
    tab.open("about:blank")
    tab.forbid_scripts()
    host.statuses = [*every_state(), container(20, HOSTILE)]
    tab.go(host.url)

    def document() -> str:
        html = tab.document()
        return html if "it uses the host's network" in html else ""

    html = eventually(document, "the table is there")
    assert all(f"<td>{status.state}</td>" in html for status in host.statuses)
    assert f"<td>{escape(HOSTILE, quote=False)}</td>" in html
    keep(tab, "no-script")
