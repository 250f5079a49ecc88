"""The status page of a real daemon: a guest's figures, its console and its screen, and what is not for the page.

The routes, headers and refusals are tested without a daemon (tests/unit/test_status_routes.py), the page itself in a
browser (tests/page).
"""

import json
import os
import signal
from dataclasses import dataclass
from typing import Any  # the page's JSON; it does not leave this file

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables, format_toml, merged
from tests.harness.waiting import eventually

HOSTILE = "<img/src=x/onerror=alert(1)>"
SECRET = "correct-horse-battery-staple"  # noqa: S105  # only this test uses it
ALL = pytest.mark.vtapd_config(metrics={"show": ["reasons", "consoles", "screens"]})
PNG = "\ufffdPNG"


@dataclass
class PageOf:
    """The status page of one daemon."""

    daemon: Daemon

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        reply = self.daemon.machine.http(f"http://{self.daemon.config['metrics']['listen']}{path}", 10.0, **headers)
        return reply.status, reply.body

    def status(self) -> dict[str, Any]:
        code, body = self.get("/status.json")
        assert code == 200, body
        parsed: dict[str, Any] = json.loads(body)
        return parsed

    def of(self, container: Container) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.status()["containers"] if each["name"] == container.name)
        return found


@pytest.fixture
def page(vtapd: Daemon) -> PageOf:
    return PageOf(vtapd)


def test_health_of_the_daemon_is_shown(page: PageOf) -> None:
    daemon = page.status()["daemon"]
    assert daemon["docker_connected"] is True
    assert daemon["docker"] == page.daemon.machine.docker("version", "--format", "{{.Server.Version}}").strip()
    assert daemon["qemu"].count(".") >= 1
    assert daemon["kernel"] == os.uname().release
    assert daemon["kvm"] is None, "[guest] accel is tcg in tests, so KVM is not tested"


def test_figures_of_a_guest_grow(page: PageOf, containers: Containers) -> None:
    guest, plain = containers.serving_guest(), containers.run().await_attached()
    before = page.of(guest)
    guest.get("/bytes?n=1000000", 10)
    eventually(
        lambda: page.of(guest)["transmit_bytes"] - before["transmit_bytes"] >= 1_000_000, "what it sent is counted"
    )
    after = page.of(guest)
    assert (after["state"], after["guest"]) == ("running", "rumprun")
    assert after["address"] == f"{guest.address}/{guest.endpoint.prefix}"
    assert after["cpu_s"] > 0
    assert 2**20 < after["memory_bytes"] < 200 * 2**20
    assert after["uptime_s"] > 0
    guest.trigger("/exit?code=3")
    eventually(lambda: page.of(guest)["restarts"] == 1, "the restart is counted")
    last = page.of(guest)["last_exit"]
    assert (last["reason"], last["code"], last["detail"]) == ("guest-exit", 3, "")
    assert page.of(plain)["processes"] == 1
    assert f"<td>{plain.name}</td>" in page.get("/")[1]


def test_page_shows_no_secret_and_no_console_by_default(page: PageOf, containers: Containers) -> None:
    """Of labels, the environment, the command line and consoles."""
    secrets = ("--env", f"PASSWORD={SECRET}", "--label", f"token={SECRET}", "--label", "vtapd.env=true")
    guest = containers.serving_guest(*secrets, args=SECRET, screen="true", kernel="/hello-unikraft.bin")
    guest.trigger(f"/echo-console?text={SECRET}")
    refused = containers.guest(args=f"{SECRET}\x01", memory="64M")
    page.daemon.await_state(refused.name, "rejected")
    eventually(lambda: page.of(refused)["state"] == "rejected", "the page shows it too")
    assert page.of(refused)["reason"] == "label vtapd.args is refused; for the reason see: vtapd inspect"
    for path in ("/", "/status.json"):
        assert SECRET not in page.get(path)[1]
        assert "-netdev" not in page.get(path)[1]
    for path in ("console.txt", "screen.png"):
        code, said = page.get(f"/containers/{guest.name}/{path}")
        assert (code, "[metrics] show" in said) == (404, True)


@ALL
def test_console_and_screen_are_shown_if_configured(page: PageOf, containers: Containers) -> None:
    guest = containers.serving_guest(screen="true", kernel="/hello-unikraft.bin")
    guest.trigger(f"/echo-console?text={HOSTILE}")
    assert (page.of(guest)["console"], page.of(guest)["screen"]) == (True, True)
    path = f"/containers/{guest.id}/console.txt"
    eventually(lambda: HOSTILE in page.get(path)[1], "the console has what the guest printed")
    assert "hello: serving" in page.get(path)[1]
    code, picture = page.get(f"/containers/{guest.id}/screen.png")
    assert (code, picture[:4]) == (200, PNG)
    page.daemon.machine.docker("pause", guest.id)
    eventually(lambda: page.of(guest)["screen"] is False, "a paused guest draws nothing")
    page.daemon.machine.docker("unpause", guest.id)


def test_reload_changes_what_is_shown(page: PageOf, containers: Containers) -> None:
    daemon, guest = page.daemon, containers.serving_guest()
    path = f"/containers/{guest.id}/console.txt"

    def answers(code: int, changes: Tables) -> None:
        daemon.config_file.write_text(format_toml(merged(daemon.config, changes)))
        os.kill(daemon.pid, signal.SIGHUP)
        eventually(lambda: page.get(path)[0] == code, f"the console is answered {code}")

    try:
        answers(200, {"metrics": {"show": ["consoles"]}})
    finally:
        answers(404, {})


@ALL
def test_hostile_labels_are_text_on_the_page(page: PageOf, containers: Containers) -> None:
    refused = containers.guest(memory=f"</noscript><script>{HOSTILE}\x1b]0;x\x07")
    page.daemon.await_state(refused.name, "rejected")
    eventually(lambda: HOSTILE in (page.of(refused)["reason"] or ""), "the reason has the label's value")
    html = page.get("/")[1]
    assert "&lt;/noscript&gt;&lt;script&gt;&lt;img" in html
    assert HOSTILE not in html
    assert "\x1b" not in html + page.get("/status.json")[1]


@ALL
def test_container_that_has_ended_is_shown_if_asked_for(page: PageOf, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.stop()

    def ended() -> dict[str, Any]:
        found = json.loads(page.get("/status.json?all")[1])["containers"]
        return next((each for each in found if each["name"] == guest.name and each["ended_at"]), {})

    shown = eventually(ended, "it is listed with its end")
    assert (shown["state"], shown["guest"], shown["uptime_s"]) == ("exited", "rumprun", None)
    assert "hello: serving on" in page.get(f"/containers/{guest.id}/console.txt")[1]
    assert guest.name not in {each["name"] for each in page.status()["containers"]}


def test_page_is_for_browsers_that_name_the_machine(page: PageOf) -> None:
    name = os.uname().nodename
    assert page.get("/", Host=f"{name}:9817")[0] == 200
    assert page.get("/", Host="rebound.example:9817")[0] == 421
    assert page.get("/metrics", Host="rebound.example:9817")[0] == 200
