"""SIGHUP: the configuration is read again, and what it says counts from then on. Guests that run are never touched.

All of a new file counts, or nothing: one that is wrong, or asks for what this machine cannot do, leaves the daemon as
it was. What only a start can change is kept as it is, and logged.
"""

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from supervisor.api.metrics_server import MetricsServer
from supervisor.config import Config, load_config
from supervisor.container.context import Context
from supervisor.container.reconciler import Reconciler
from supervisor.core.model import User
from supervisor.edges.qemu.spawn import find_user
from supervisor.edges.systemd.notify import notify
from supervisor.edges.unix_sockets import give_to_group
from supervisor.errors import VtapdError
from supervisor.guest.accelerator import Accelerator
from supervisor.guest.confinement import Confinement
from supervisor.observability.log_setup import configure_logs

FIXED = ("docker.host", "attach.run_dir")
"""Where the daemon's containers and its records are: another one's are not to be taken for them."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Reloading:
    """`follow` it in a task group."""

    def __init__(self, path: Path | None, context: Context, reconciler: Reconciler, metrics: MetricsServer) -> None:
        self._path = path
        self._context = context
        self._reconciler = reconciler
        self._metrics = metrics

    async def follow(self, hangups: AsyncIterator[object]) -> None:
        """One reload for each signal, for ever."""
        async for _ in hangups:
            await self.reload()

    async def reload(self) -> None:
        """Reload, and notify systemd of the beginning and of the end (man 3 sd_notify: RELOADING=1)."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            changed = await self._take(load_config(self._path))
        except VtapdError as error:
            log.error("config_refused", error=str(error), until="it is corrected, the one before counts")
            notify("READY=1", "STATUS=its new configuration is wrong, and the one before counts; see the log")
            return
        log.info("config_reloaded", changed=changed)
        notify("READY=1", "STATUS=watching Docker, reloaded")

    async def _take(self, file: Config) -> list[str]:
        """The keys by which it differs from what counted before. Raises a VtapdError, and then nothing has changed."""
        context, old = self._context, self._context.config
        new = _with_fixed(old, file)
        changed = differing_keys(old, new)
        user = find_user(new.guest.user)
        moves = "metrics.listen" in changed
        with ExitStack() as undo:
            server = await self._metrics.listen(new) if moves else None
            if server is not None:
                undo.callback(server.close)
            confinement = await self._confinement(new, user, changed)
            undo.pop_all()
        if moves:
            self._metrics.switch_to(server)
        replaced = context.confinement
        context.config, context.confinement = new, confinement
        context.uids = context.uids.reconfigured(user, new.uids)
        if {"guest.qemu", "guest.user"} & set(changed):
            context.accelerator = Accelerator(new.guest.qemu, user)
        if confinement is not replaced:
            await replaced.close()
        context.docker.timeout_s = new.docker.timeout
        with suppress(FileNotFoundError):  # it was removed: then there is nothing to protect
            give_to_group(new.control_socket, new.control.group)
        configure_logs(new.log.level, new.log.format)
        for key in differing_keys(new, file):
            kept, asked = _value(new, key), _value(file, key)
            log.warning("config_key_needs_restart", key=key, kept=kept, asked=asked, until="systemctl restart vtapd")
        self._reconciler.reload()
        return changed

    async def _confinement(self, new: Config, user: User, changed: list[str]) -> Confinement:
        """Return the confinement for guests that start from now on.

        Raises a VtapdError if the configuration requires a sandbox and QEMU cannot have one.
        """
        if not {"guest.qemu", "guest.sandbox", "guest.user"} & set(changed):
            return self._context.confinement
        confinement = Confinement(new.guest.qemu, new.guest.sandbox, new.run_dir, user)
        if new.guest.sandbox == "required":
            await confinement.launch_environment()
        return confinement


def differing_keys(old: Config, new: Config) -> list[str]:
    """As paths, such as guest.memory."""
    return [
        f"{table.name}.{key.name}"
        for table in msgspec.structs.fields(Config)
        for key in msgspec.structs.fields(table.type)
        if _value(old, f"{table.name}.{key.name}") != _value(new, f"{table.name}.{key.name}")
    ]


def _value(config: Config, path: str) -> Any:
    table, _, key = path.partition(".")
    return getattr(getattr(config, table), key)


def _with_fixed(old: Config, new: Config) -> Config:
    for path in FIXED:
        table, _, key = path.partition(".")
        kept = msgspec.structs.replace(getattr(new, table), **{key: _value(old, path)})
        new = msgspec.structs.replace(new, **{table: kept})
    return new
