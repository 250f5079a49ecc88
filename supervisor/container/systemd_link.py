"""The daemon's connection to systemd, which may be lost and made again. Without it device rules are still right.

Under Docker's systemd driver, systemd has a copy of each container's device rules.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import structlog

from supervisor.core.container import Pid
from supervisor.core.formats.proc_cgroup import Cgroup, services_of
from supervisor.core.links import DeviceNumber
from supervisor.edges.kernel import process
from supervisor.errors import Transient

if TYPE_CHECKING:
    from supervisor.edges.systemd.dbus import Systemd  # loaded only under systemd

_RETRY_S = 5.0
_SYSTEMD_RUNS = anyio.Path("/run/systemd/system")
"""It exists if systemd is the machine's init (man 3 sd_booted)."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SystemdLink:
    """`connect` it, and `follow` it in a task group."""

    def __init__(self) -> None:
        self.bus: Systemd | None = None
        """None if systemd is not the machine's init, or does not answer."""

    async def connect(self) -> None:
        """Connect, if systemd is the machine's init. An error is logged."""
        if not await _SYSTEMD_RUNS.is_dir():
            return
        from supervisor.edges.systemd.dbus import Systemd  # a sixth of the start-up time, needed only here

        try:
            self.bus = await Systemd.connect()
            log.info("systemd_connected")
        except Transient as error:
            log.warning("systemd_unreachable", error=str(error))

    async def follow(self, on_reload: Callable[[], None]) -> None:
        """Call `on_reload` whenever systemd has reloaded, which takes device rules away. Connect again if needed."""
        while await _SYSTEMD_RUNS.is_dir():
            if self.bus is None:
                await anyio.sleep(_RETRY_S)
                await self.connect()
                on_reload()
                continue
            try:
                await self.bus.follow_reloads(on_reload)
            except Transient as error:
                log.warning("systemd_lost", error=str(error))
            self.close()

    async def is_shutting_down(self) -> bool:
        """Return whether systemd is shutting the machine down, as far as it says."""
        if self.bus is None:
            return False
        try:
            return await self.bus.is_shutting_down()
        except Transient as error:
            log.warning("systemd_lost", error=str(error))
            return False

    async def change_rule(self, cgroup: Cgroup, device: DeviceNumber, *, allowed: bool) -> None:
        """Change systemd's copy of a container's device rule, if it has one: it makes device programs by itself.

        Call this before the rule is changed: systemd never removes a program of its own that was replaced without it.
        """
        if self.bus is None or cgroup.scope is None:
            return
        try:
            change = self.bus.allow_device if allowed else self.bus.deny_device
            await change(cgroup.scope, device)
        except Transient as error:
            # The rule holds without it. It is lost for a moment at systemd's next reload.
            log.warning("systemd_not_told", scope=cgroup.scope, error=str(error))

    async def separate(self, pid: Pid) -> None:
        """Move a process that this one has started out of its unit: systemd stops and starts that without the process.

        Otherwise systemd warns of a left-over process at each start of the unit, and `systemctl kill` ends it as well.
        """
        own = Pid(os.getpid())
        cgroup = process.observe_cgroup(own)
        if self.bus is None or pid == own or process.observe_cgroup(pid) != cgroup:
            return
        try:
            name, description = f"vtapd-reaper-{pid}.scope", "the parent of vtapd's guests"
            await self.bus.start_scope(name, description, pid, services_of(cgroup.decode()))
        except Transient as error:
            log.warning("reaper_in_service", error=str(error))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.bus is not None:
            self.bus.close()
            self.bus = None
