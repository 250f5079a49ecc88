"""Takes a picture of what a guest has on its screen (`vtapd screen`)."""

from contextlib import closing
from functools import partial

from supervisor.container.status import state_of
from supervisor.container.worker import Worker
from supervisor.core.formats.png import png_of_ppm
from supervisor.core.guest.qemu_argv import has_screen
from supervisor.edges import threads
from supervisor.edges.qemu.memory_file import Scratch
from supervisor.errors import Permanent, Transient


async def capture_screen(worker: Worker) -> bytes:
    """As PNG. Raises Permanent where there is no screen, Transient where QEMU gives no picture of it."""
    run = worker.current
    session = run.keeper.session if run is not None else None
    if run is None or session is None:
        raise _none(worker, f"no guest runs ({state_of(worker)})", "see: vtapd inspect")
    if run.container.paused:
        raise _none(worker, "it is paused", "docker unpause")
    if not has_screen(session.record.command):
        remedy = "start the container with label vtapd.screen=true, on a machine that can have one (pc, q35)"
        raise _none(worker, "its QEMU was started without a VGA card", remedy)
    try:
        with closing(Scratch()) as picture:
            await session.draw(picture.writer)
            return await threads.run_in_thread(partial(png_of_ppm, picture.read()))
    except Transient as error:
        error.concern(f"container {worker.name}")
        raise


def _none(worker: Worker, why: str, remedy: str) -> Permanent:
    return Permanent(f"container {worker.name} has no screen: {why}", step="screen", remedy=remedy)
