"""Notice that a guest changes the MAC of one of its cards. What the network sends to the new one does not reach it.

QEMU sends one event, and no other before it is asked for the MACs (`NIC_RX_FILTER_CHANGED` in qapi/net.json). So a
guest whose driver changes nothing costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.core.guest.mac_changes import changed_macs, given_macs
from supervisor.errors import Transient
from supervisor.guest.qmp_monitor import QmpMonitor

_PAUSE_S = 1.0
"""QEMU is asked no more often than this, however often a guest changes something."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class MacWatch:
    """The MACs that one guest has set itself. `start` it while QEMU runs."""

    def __init__(self, monitor: QmpMonitor, command: Sequence[str], on_change: Callable[[], None]) -> None:
        """`command`: QEMU's command line."""
        self.changed: Mapping[int, str] = {}
        """By slot."""
        self._monitor = monitor
        self._given = given_macs(command)
        self._on_change = on_change
        self._is_due = self._looks = False

    def start(self, tasks: anyio.abc.TaskGroup, *, ask_first: bool) -> None:
        """Follow QEMU's events. With `ask_first`, an event may have been sent before QEMU was connected to."""
        self._monitor.on_filter_change = partial(self._note_change, tasks)
        if ask_first:
            self._note_change(tasks)

    def _note_change(self, tasks: anyio.abc.TaskGroup) -> None:
        self._is_due = True
        if not self._looks:
            self._looks = True
            tasks.start_soon(self._look_while_due)

    async def _look_while_due(self) -> None:
        await self._monitor.answered.wait()
        while self._is_due:
            self._is_due = False
            await self._look()
            await anyio.sleep(_PAUSE_S)
        self._looks = False

    async def _look(self) -> None:
        try:
            found = changed_macs(await self._monitor.execute("query-rx-filter", {}), self._given)
        except Transient as error:
            log.debug("macs_unknown", error=str(error))
            return
        before, self.changed = self.changed, found
        for slot, mac in found.items():
            if before.get(slot) != mac:
                log.warning("guest_mac_changed", slot=slot, mac=mac, given=self._given[slot])
        if found != before:
            self._on_change()
