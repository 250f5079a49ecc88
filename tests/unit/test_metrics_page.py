"""A scrape does not block the event loop, even with many guests."""

import os
import time

import anyio

from supervisor.api.metrics_page import Page, observe_usage
from supervisor.core.container import Incarnation, Pid
from supervisor.edges.kernel.process import start_ticks
from supervisor.observability.metrics import Counters, GuestSample, StateCollector, Usage

GUESTS = 200
BEAT_S = 0.001
ME = Pid(os.getpid())


def guest(number: int) -> GuestSample:
    """Return a guest whose process is this test and whose card is the loopback interface."""

    def observe() -> Usage:
        return observe_usage(ME, Incarnation(ME, start_ticks(ME)), {"lo": "eth0"})

    return GuestSample(f"kek{number}", "rumprun", "running", True, 3, {"guest-reset": 3}, 0.0, 0, 0, 0, {}, observe)


class Loop:
    """Measures the longest step of the event loop in its own processor time, so that other load does not count."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        while True:
            before_s = time.thread_time()
            await anyio.sleep(BEAT_S)
            self.longest_s = max(self.longest_s, time.thread_time() - before_s)


def test_scrape_does_not_block_the_event_loop() -> None:
    page = Page(Counters().registry, lambda: StateCollector(GUESTS, [guest(number) for number in range(GUESTS)]))
    loop = Loop()

    async def scrape() -> tuple[str, float]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.beat)
            before_s = time.process_time() - time.thread_time()
            text, _ = await page.render("", "")
            thread_s = time.process_time() - time.thread_time() - before_s
            tasks.cancel_scope.cancel()
        return text.decode(), thread_s

    text, thread_s = anyio.run(scrape)
    assert (
        text.count("vtapd_guest_cpu_seconds_total{") == text.count("vtapd_guest_network_receive_bytes_total{") == GUESTS
    )
    assert loop.longest_s < thread_s / 4, "the event loop did work that belongs into the thread"


def test_reused_pid_gives_no_process_usage() -> None:
    usage = observe_usage(ME, Incarnation(ME, start_ticks(ME) - 1), {"lo": "eth0", "vtap000000": "eth1"})
    assert (usage.cpu_s, usage.resident_bytes) == (None, None)
    assert set(usage.traffic) == {"eth0"}
