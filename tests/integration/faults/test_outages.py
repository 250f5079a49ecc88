"""Docker fails or sends wrong events: guests run on, and the daemon finds the true state without busy loops."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.docker_proxy import DockerProxy, Mangle
from tests.harness.machine import Machine
from tests.harness.observe import netns_links, qemus_of
from tests.harness.waiting import eventually

PATIENCE_S = 20.0
RESYNC_S = 1.0
OUTAGE_S = 4.0
SET_BACK_S = 3600
MOST_REQUESTS_A_SECOND, MOST_LINES_A_SECOND = 15.0, 30.0
"""For three containers: far less than a busy loop would do, more than the daemon's delays allow."""


@pytest.fixture
def daemon(machine: Machine, current_daemon: CurrentDaemon, containers: Containers, proxy: DockerProxy) -> Daemon:
    """A daemon that reaches Docker through the proxy."""
    del containers  # requested only so that it is torn down while the daemon runs
    daemon = current_daemon.get(
        {"docker": {"host": proxy.host, "timeout": "2s"}, "attach": {"resync": f"{RESYNC_S:g}s"}}
    )
    eventually(lambda: connected(daemon) and proxy.is_followed(), "the daemon follows the events", PATIENCE_S)
    return daemon


def connected(daemon: Daemon) -> bool:
    return daemon.metrics().value("vtapd_docker_connected") == 1


def prove_converges(daemon: Daemon, containers: Containers) -> None:
    """Assert that starts, restarts, ends and a guest's crash are handled, whatever events say."""
    guest, plain, short = containers.serving_guest(), containers.run().await_attached(), containers.run()
    short.remove()
    guest.machine.docker("restart", "-t", "0", guest.id)
    again = guest.restarted()
    again.await_page(PATIENCE_S)
    assert len(qemus_of(guest.id)) == 1
    plain.machine.docker("kill", plain.id)
    eventually(lambda: plain.id12 not in netns_links(), "the killed container is undone", PATIENCE_S)
    eventually(lambda: short.id12 not in netns_links(), "nothing is left of the removed container", PATIENCE_S)
    view = daemon.inspect(guest.name).only_guest
    assert (view.restarts, view.history) == (0, []), "the end of an earlier run was counted for this one"
    again.trigger("/crash")
    eventually(lambda: daemon.metrics().restarts(guest.name) == 1, "the crashed guest is restarted", PATIENCE_S)
    again.await_page()
    assert daemon.metrics().exits(guest.name) == 1


def lost(_event: bytes) -> Iterable[bytes]:
    return ()


class Reversed:
    """Events in groups of three, in reverse order; an incomplete group waits for later events."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def __call__(self, event: bytes) -> Iterable[bytes]:
        self._held.insert(0, event)
        if len(self._held) < 3:
            return ()
        released, self._held = self._held, []
        return released


class Repeated:
    """Each event twice, and all earlier events before it."""

    def __init__(self) -> None:
        self._past: list[bytes] = []

    def __call__(self, event: bytes) -> Iterable[bytes]:
        self._past.append(event)
        return (*self._past, event)


class WithGarbage:
    """Garbage before each event: invalid text, which ends the stream, and JSON of another shape, which does not."""

    def __init__(self) -> None:
        self._garbage = itertools.cycle([b'{"Type": 7}\n', b"null\n", b"[]\n", b"<html>\n", b'{"Type":"container"}\n'])

    def __call__(self, event: bytes) -> Iterable[bytes]:
        return next(self._garbage), event


@pytest.mark.parametrize(
    "make", [lambda: lost, Repeated, Reversed, WithGarbage], ids=["lost", "repeated", "reversed", "garbage"]
)
def test_wrong_events_do_not_mislead_the_daemon(
    daemon: Daemon, containers: Containers, proxy: DockerProxy, make: Callable[[], Mangle]
) -> None:
    proxy.mangle = make()
    prove_converges(daemon, containers)


def test_events_of_a_clock_that_was_set_back_are_handled(
    daemon: Daemon, containers: Containers, proxy: DockerProxy
) -> None:
    """The clock is set back after the guest's start: Docker's events seem older than that, and still count."""

    def set_back(event: bytes) -> Iterable[bytes]:
        changed = json.loads(event)
        changed["time"] -= SET_BACK_S
        changed["timeNano"] -= SET_BACK_S * 10**9
        return (json.dumps(changed).encode() + b"\n",)

    guest = containers.serving_guest()
    proxy.mangle = set_back
    began = time.monotonic()
    guest.stop(2 * int(PATIENCE_S))
    assert time.monotonic() - began < PATIENCE_S, "the stop waited for an init that ignores the signal"
    eventually(lambda: not qemus_of(guest.id), "QEMU is gone")
    ends = [line["reason"] for line in daemon.log_lines() if line.get("event") == "guest_exited"]
    assert ends[-1] == "stopped", "the guest was stopped, not killed with its container"
    prove_converges(daemon, containers)


def test_event_streams_that_are_cut_repeatedly(daemon: Daemon, containers: Containers, proxy: DockerProxy) -> None:
    over = threading.Event()

    def cut() -> None:
        while not over.wait(0.3):
            proxy.cut_streams()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        prove_converges(daemon, containers)
    finally:
        over.set()
        thread.join()


def goes_away(proxy: DockerProxy) -> None:
    """Accept and close connections at first, then remove the socket."""
    proxy.refuses = True
    proxy.cut_streams()
    threading.Timer(OUTAGE_S / 2, proxy.close).start()


def stops_answering(proxy: DockerProxy) -> None:
    """Keep open streams open, and silent."""
    proxy.hangs = True
    proxy.mangle = lost


def sends_garbage(proxy: DockerProxy) -> None:
    """Replace each event by garbage; a new stream repeats recent events."""
    proxy.mangle = lambda _event: (b"<html>\n",)


@pytest.mark.parametrize("outage", [goes_away, stops_answering, sends_garbage])
def test_guests_run_on_during_an_outage(
    daemon: Daemon, containers: Containers, proxy: DockerProxy, outage: Callable[[DockerProxy], None]
) -> None:
    """Crashes are handled; Docker is asked with delays, not in a loop; missed events are made up for afterwards."""
    guest, other, gone = containers.serving_guest(), containers.serving_guest(), containers.serving_guest()
    qemu = guest.qemu()
    asked, lines = len(proxy.requests), len(daemon.log_lines())
    outage(proxy)
    began = time.monotonic()
    other.trigger("/crash")
    gone.remove()
    late = containers.guest()
    eventually(
        lambda: daemon.metrics().restarts(other.name) == 1, "a crashed guest is restarted without Docker", PATIENCE_S
    )
    other.await_page()
    while time.monotonic() - began < OUTAGE_S:
        late.machine.docker("kill", "-s", "CONT", late.id)  # an event, which may break the stream
    took_s = time.monotonic() - began
    assert guest.qemu() == qemu
    assert len(proxy.requests) - asked <= MOST_REQUESTS_A_SECOND * took_s
    assert len(daemon.log_lines()) - lines <= MOST_LINES_A_SECOND * took_s
    proxy.behave()
    late.await_page(PATIENCE_S)
    eventually(
        lambda: gone.id12 not in netns_links(),
        "nothing is left of the container that was removed meanwhile",
        PATIENCE_S,
    )
    eventually(lambda: connected(daemon) and proxy.is_followed(), "the daemon follows the events", PATIENCE_S)
    assert guest.qemu() == qemu
    assert guest.get().status == 200
