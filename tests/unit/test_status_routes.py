"""The status page's answers over HTTP: methods, hosts, headers, and what is shown only if it is configured."""

import base64
import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any  # the page's JSON; it does not leave this file

import anyio
import pytest

from supervisor.core.report.schema import PageContainerShape, PageDaemonShape, PageShape
from supervisor.guest.console_hub import ConsoleHub
from tests.harness.waiting import eventually
from tests.page.server import Host, serving
from tests.page.states import HOSTILE, ended, every_state, guest

PATHS = ("/", "/status.json", "/containers/web/console.txt", "/containers/web/screen.png")
GUESTS = 50


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@pytest.fixture(scope="module")
def served() -> Iterator[Host]:
    host = Host(every_state())
    hub = ConsoleHub()
    hub.publish(f"\x1b[1m{HOSTILE}\x1b[0m\r\n".encode())
    host.consoles[host.statuses[1].id] = hub
    with serving(host):
        yield host


@pytest.fixture
def host(served: Host) -> Iterator[Host]:
    served.show, served.ended = (), ()
    yield served
    served.show, served.ended = (), ()


def ask(host: Host, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    response = connection.getresponse()
    answer = Answer(response.status, dict(response.headers), response.read().decode("utf-8", "replace"))
    connection.close()
    return answer


def test_json_has_the_documented_keys(host: Host) -> None:
    page = json.loads(ask(host, "/status.json").text)
    assert set(page) == set(PageShape.__annotations__)
    assert set(page["daemon"]) == set(PageDaemonShape.__annotations__)
    assert all(set(each) == set(PageContainerShape.__annotations__) for each in page["containers"])
    assert [each["state"] for each in page["containers"]] == [status.state for status in host.statuses]


def test_ended_containers_are_listed_if_asked_for(host: Host) -> None:
    at = "2026-01-02T03:04:0{}.678+00:00"
    host.ended = [ended(guest(50, "first"), at.format(1)), ended(guest(51, "second"), at.format(2))]

    def answer(query: str) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(ask(host, f"/status.json{query}").text)
        assert page["ended"] == 2, "an answer holds for a second"
        return page

    page, everything = (eventually(partial(answer, query), "both are counted") for query in ("", "?all"))
    assert [each["name"] for each in page["containers"]] == [status.name for status in host.statuses]
    *running, last, before = everything["containers"]
    assert (last["name"], last["ended_at"], before["name"]) == ("second", at.format(2), "first")
    assert [each["ended_at"] for each in running] == [None] * len(host.statuses)
    host.show = ("consoles",)
    assert ask(host, "/containers/first/console.txt").text == "last words of first"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused(host: Host, method: str, path: str) -> None:
    assert ask(host, path, method).status == 405


def test_head_has_the_headers_alone(host: Host) -> None:
    answer = ask(host, "/", "HEAD")
    assert (answer.status, answer.text) == (200, "")
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_request_for_another_name_is_refused(host: Host, path: str) -> None:
    for name in ("evil.example", f"evil.example:{host.port}", ""):
        assert ask(host, path, Host=name).status == 421
    assert ask(host, path, Host=f"localhost:{host.port}").status != 421


def test_scrape_may_name_the_machine_as_it_likes(host: Host) -> None:
    assert ask(host, "/metrics", Host="node1.example:9817").status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_data_is_not_for_other_web_pages(host: Host, site: str) -> None:
    assert [ask(host, path, Sec_Fetch_Site=site).status for path in PATHS] == [200, 403, 403, 403]
    assert ask(host, "/status.json", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["127.0.0.1", "evil.example"])
def test_every_answer_restricts_the_browser(host: Host, path: str, name: str) -> None:
    headers = ask(host, path, Host=name).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


def test_policy_allows_the_page_its_own_script_and_style_alone(host: Host) -> None:
    answer = ask(host)
    policy = answer.headers["Content-Security-Policy"]
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_page_asks_no_other_server_and_never_parses_text_as_html(host: Host) -> None:
    text = ask(host).text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|wss?:|@import|url\(", text.replace("xmlns='http:", ""))
    assert all(target.startswith("data:") for target in re.findall(r"(?:src|href)=[\"']([^\"']*)", text))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=| on[a-z]+=[\"']", text)


@pytest.mark.parametrize(("what", "path"), [("consoles", PATHS[2]), ("screens", PATHS[3])])
def test_consoles_and_screens_are_off_unless_configured(host: Host, what: str, path: str) -> None:
    refusal = ask(host, path)
    assert (refusal.status, f'"{what}" to [metrics] show' in refusal.text) == (404, True)


def test_configured_console_is_plain_text(host: Host) -> None:
    host.show = ("consoles",)
    answer = ask(host, PATHS[2])
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == f"{HOSTILE}\n"
    assert ask(host, "/containers/plain/console.txt").status == 404
    assert ask(host, "/containers/nowhere/console.txt").status == 404


def test_change_of_what_is_shown_counts_at_once(host: Host) -> None:
    def details() -> list[str]:
        return [each["last_exit"]["detail"] for each in json.loads(ask(host, "/status.json").text)["containers"][1:2]]

    assert details() == [""]
    host.show = ("consoles",)
    assert details() != [""]


@pytest.mark.parametrize("path", ["/index.html", "/..%2f..%2fetc/passwd", "/containers/web/", "/status", "//evil.x/"])
def test_other_paths_are_not_there(host: Host, path: str) -> None:
    assert ask(host, path).status == 404


def test_refresh_does_not_block_the_event_loop() -> None:
    """The event loop only asks for the states; a thread reads the kernel's counters and writes the answer."""
    page = Host([guest(number, f"kek{number}") for number in range(GUESTS)], port=9817).page()

    async def refresh() -> tuple[float, float]:
        await page.html()  # which asks for QEMU's version
        page._last.clear()  # as if a second had passed
        loop_s, all_s = time.thread_time(), time.process_time()
        await page.html()
        return time.thread_time() - loop_s, time.process_time() - all_s

    loop_s, all_s = anyio.run(refresh)
    assert loop_s < all_s / 2, "the event loop did work that belongs into the thread"
    assert all_s < 0.25, "a refresh with 50 guests needs a hundredth of that"


def test_many_browsers_cost_no_more_than_one() -> None:
    host = Host([guest(1, "web")], port=9817)
    page = host.page()

    async def refresh_all() -> set[bytes]:
        found: set[bytes] = set()

        async def refresh() -> None:
            found.add(await page.json(also_ended=False))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(refresh)
        return found

    assert len(anyio.run(refresh_all)) <= 2, "each made an answer of its own"
