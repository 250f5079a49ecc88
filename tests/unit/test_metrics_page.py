"""A scrape does not hold the loop up, however many guests there are."""

import os
import time

import anyio

from supervisor.api.metrics_page import Page, observe_usage
from supervisor.core.model import Incarnation, Pid
from supervisor.edges.kernel.process import start_ticks
from supervisor.observability.metrics import Counters, GuestSample, StateCollector, Usage

GUESTS = 200
BEAT_S = 0.001
ME = Pid(os.getpid())


def guest(number: int) -> GuestSample:
    """The kernel's part is this process, whose card is the loopback."""

    def observe() -> Usage:
        return observe_usage(ME, Incarnation(ME, start_ticks(ME)), {"lo": "eth0"})

    return GuestSample(f"kek{number}", "rumprun", "running", True, 3, {"guest-reset": 3}, 0.0, observe)


class Loop:
    """Its own processor time, by the step; what else runs on the machine does not count."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        while True:
            before_s = time.thread_time()
            await anyio.sleep(BEAT_S)
            self.longest_s = max(self.longest_s, time.thread_time() - before_s)


def test_the_loop_goes_on_while_guests_are_looked_at() -> None:
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
    assert loop.longest_s < thread_s / 4, "all but a little of it is a thread's"


def test_a_process_that_ended_and_whose_number_another_has() -> None:
    usage = observe_usage(ME, Incarnation(ME, start_ticks(ME) - 1), {"lo": "eth0", "vtap000000": "eth1"})
    assert (usage.cpu_s, usage.resident_bytes) == (None, None)
    assert set(usage.traffic) == {"eth0"}
