"""Capture a guest's screen as a PNG image (`vtapd screen`)."""

from contextlib import closing
from functools import partial

from supervisor.container.worker import Worker
from supervisor.core.formats.png import png_of_ppm
from supervisor.core.guest.qemu_argv import has_screen
from supervisor.edges import threads
from supervisor.edges.qemu.memory_file import MemoryFile
from supervisor.errors import Permanent, Step, Transient


async def capture_screen(worker: Worker) -> bytes:
    """Return a PNG. Raises Permanent if there is no screen, Transient if QEMU does not draw it."""
    status, live = worker.status(), worker.container.live
    if status.qemu is None or live is None:
        raise _none(worker, f"no guest runs ({status.state})", "see: vtapd inspect")
    if status.paused:
        raise _none(worker, "it is paused", "docker unpause")
    if not has_screen(status.qemu.command):
        remedy = "start the container with label vtapd.screen=true, on a machine that can have one (pc, q35)"
        raise _none(worker, "its QEMU was started without a VGA card", remedy)
    try:
        with closing(MemoryFile()) as picture:
            await live.draw_screen(picture.writer)
            return await threads.run_in_thread(partial(png_of_ppm, picture.read()))
    except Transient as error:
        error.concern(f"container {worker.name}")
        raise


def _none(worker: Worker, why: str, remedy: str) -> Permanent:
    return Permanent(f"container {worker.name} has no screen: {why}", step=Step.SCREEN, remedy=remedy)
