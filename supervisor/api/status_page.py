"""Collect what the status page shows: the daemon's health, all containers, and one container's console or screen.

Nothing is kept for the page's curves: the browser remembers what it saw. So a page that no browser shows costs nothing.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from importlib.resources import files

import anyio
import msgspec

from supervisor.api.console_socket import console_of
from supervisor.api.representation import notes, summary
from supervisor.api.screen import capture_screen
from supervisor.api.usage import observe_usage
from supervisor.api.versions import Versions
from supervisor.container.context import Context
from supervisor.container.reconciler import Reconciler
from supervisor.core.guest.qemu_command import has_screen
from supervisor.core.report.disclosure import CONSOLES, SCREENS, last_lines, shown_exit, shown_notes, shown_reason
from supervisor.core.report.page_table import format_table
from supervisor.core.report.schema import PageContainerShape, PageDaemonShape, PageShape
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.clock import boottime_s, utc_of
from supervisor.edges.threads import run_in_thread
from supervisor.errors import Permanent, Step
from supervisor.version import program_version

_FRESH_S = 1.0
"""All browsers get the same answer for so long, so that many of them cost no more than one."""
_TABLE = "<!-- table -->"
PAGE = files("supervisor.api").joinpath("status_page.html").read_text("utf-8")


class StatusPage:
    """The page's answers. The routes are in status_routes.py."""

    def __init__(self, context: Context, reconciler: Reconciler, docker: str) -> None:
        """`docker`: its version at the daemon's start."""
        self._context = context
        self._reconciler = reconciler
        self._versions = Versions(context, reconciler, docker)
        self._began_s = boottime_s()
        self._one = anyio.Lock()
        self._drawing = anyio.Lock()
        """One screen at a time, however many browsers show some."""
        self._last: dict[bool, tuple[float, Sequence[str], PageShape]] = {}
        """The last answer without and with ended containers, when it was made, and what it was allowed to show."""

    @property
    def names(self) -> tuple[str, ...]:
        """The machine's names, by which a browser may ask for the page."""
        address = self._context.config.metrics_address
        return (os.uname().nodename, *([address[0]] if address else []))

    async def html(self) -> str:
        """Return the page, with a table for browsers that run no script. Raises Transient when no thread can start."""
        return PAGE.replace(_TABLE, format_table(await self._collect(also_ended=False)))

    async def json(self, *, also_ended: bool) -> bytes:
        """Return the data that the page's script shows. Raises Transient when no thread can be started."""
        return msgspec.json.encode(await self._collect(also_ended=also_ended))

    async def console(self, asked: str) -> str:
        """Return the last lines of a guest's console; of a container that has ended, those of its log.

        Raises Permanent if there is no guest, or if consoles are not shown.
        """
        self._require(CONSOLES)
        ended = self._reconciler.ended.of(self._reconciler.find_id(asked))
        if ended is not None and ended.guest is not None:
            return last_lines("\n".join(await self._reconciler.ended.last_output(ended.id) or []))
        return last_lines(console_of(self._reconciler.find(asked)).recent_output)

    async def screen(self, asked: str) -> bytes:
        """Return a container's screen as PNG. Raises Permanent if there is none, or it is not shown."""
        self._require(SCREENS)
        async with self._drawing:
            return await capture_screen(self._reconciler.find(asked))

    @property
    def _show(self) -> Sequence[str]:
        return self._context.config.metrics.show

    def _require(self, what: str) -> None:
        if what not in self._show:
            step = Step.CONSOLE if what == CONSOLES else Step.SCREEN
            remedy = f'add "{what}" to [metrics] show in vtapd.toml, and reload'
            raise Permanent(f"the status page shows no {what}", step=step, remedy=remedy)

    async def _collect(self, *, also_ended: bool) -> PageShape:
        async with self._one:
            show, last = self._show, self._last.get(also_ended)
            if last is not None and last[1] == show and time.monotonic() - last[0] < _FRESH_S:
                return last[2]
            daemon, statuses = await self._daemon(), self._reconciler.statuses()
            ended = self._reconciler.ended.statuses()
            listed = [*statuses, *(reversed(ended) if also_ended else ())]
            page = await run_in_thread(partial(_page, daemon, listed, len(ended), show))
            self._last[also_ended] = time.monotonic(), show, page
            return page

    async def _daemon(self) -> PageDaemonShape:
        machine = os.uname()
        return {
            "host": machine.nodename,
            "version": program_version(),
            "uptime_s": round(boottime_s() - self._began_s, 1),
            "docker_connected": self._reconciler.connected,
            "docker": await self._versions.docker(),
            "qemu": await self._versions.qemu(),
            "kvm": self._context.accelerator.kvm_works,
            "kernel": machine.release,
        }


def _page(daemon: PageDaemonShape, statuses: Sequence[ContainerStatus], ended: int, show: Sequence[str]) -> PageShape:
    return {
        "time": utc_of(boottime_s()),
        "daemon": daemon,
        "containers": [page_container(status, show) for status in statuses],
        "ended": ended,
    }


def page_container(status: ContainerStatus, show: Sequence[str]) -> PageContainerShape:
    """Return what the page shows of one container. Asks the kernel what the container and its guest use."""
    line = summary(status)
    return {
        **observe_usage(status),
        "reason": shown_reason(status, show),
        "notes": shown_notes(notes(status), show),
        "address": line["address"],
        "last_exit": shown_exit(line["last_exit"], show),
        "console": CONSOLES in show and status.guest is not None,
        "screen": SCREENS in show and _has_screen(status),
        "ended_at": line["ended_at"],
    }


def _has_screen(status: ContainerStatus) -> bool:
    return status.qemu is not None and not status.paused and has_screen(status.qemu.command)
