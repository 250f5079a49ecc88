"""Capture a guest's screen as a PNG image (`vtapd screen -o`)."""

from functools import partial

from supervisor.container.worker import Worker
from supervisor.core.formats.png import png_of_ppm
from supervisor.core.guest.qemu_command import has_screen
from supervisor.edges import threads
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.screen import GuestScreen


async def capture_screen(worker: Worker) -> bytes:
    """Return a PNG. Raises Permanent if there is no screen, Transient if QEMU does not draw it."""
    screen = screen_of(worker)
    try:
        return await threads.run_in_thread(partial(png_of_ppm, await screen.draw()))
    except Transient as error:
        error.concern(f"container {worker.name}")
        raise


def screen_of(worker: Worker) -> GuestScreen:
    """Return the screen of the container's guest. Raises Permanent if there is none, or nothing is drawn on it."""
    status, live = worker.status(), worker.container.live
    if status.qemu is None or live is None:
        raise _none(worker, f"no guest runs ({status.state})", "see: vtapd inspect")
    if status.paused:
        raise _none(worker, "it is paused", "docker unpause")
    if not has_screen(status.qemu.command):
        remedy = "start the container with label vtapd.screen=true, on a machine that can have one (pc, q35)"
        raise _none(worker, "its QEMU was started without a VGA card", remedy)
    return live.guest_screen()


def _none(worker: Worker, why: str, remedy: str) -> Permanent:
    return Permanent(f"container {worker.name} has no screen: {why}", step=Step.SCREEN, remedy=remedy)
