"""Reload the configuration on SIGHUP. Guests that run are never touched.

A new file takes effect as a whole, or not at all: if it is wrong, or asks for what this machine cannot do, the daemon
keeps the one before. A key that needs a restart keeps its value, and that is logged.
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
from supervisor.edges.qemu.spawn import find_user
from supervisor.edges.systemd.notify import notify
from supervisor.edges.unix_sockets import give_to_group
from supervisor.errors import VtapdError
from supervisor.observability.log_setup import configure_logs

FIXED = ("docker.host", "attach.run_dir")
"""Where the daemon's containers and its records are. Those of another place must not be taken for them."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Reloading:
    """`follow` it in a task group."""

    def __init__(self, path: Path | None, context: Context, reconciler: Reconciler, metrics: MetricsServer) -> None:
        self._path = path
        self._context = context
        self._reconciler = reconciler
        self._metrics = metrics

    async def follow(self, hangups: AsyncIterator[object]) -> None:
        """Reload at each signal, for ever."""
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
        """Use the configuration from now on. Return the keys that changed.

        Raises a VtapdError if this machine cannot do what it asks for, and then nothing has changed.
        """
        old = self._context.settings
        config = _with_fixed(old.config, file)
        changed = differing_keys(old.config, config)
        moves = "metrics.listen" in changed
        with ExitStack() as undone:
            server = await self._metrics.listen(config) if moves else None
            if server is not None:
                undone.callback(server.close)
            new = await old.reconfigured(config, find_user(config.guest.user))
            undone.pop_all()
        self._context.settings = new
        if moves:
            self._metrics.switch_to(server)
        self._context.docker.timeout_s = config.docker.timeout
        with suppress(FileNotFoundError):  # it was removed: then there is nothing to protect
            give_to_group(config.control_socket, config.control.group)
        configure_logs(config.log.level, config.log.format)
        for key in differing_keys(config, file):
            kept, asked = _value(config, key), _value(file, key)
            log.warning("config_key_needs_restart", key=key, kept=kept, asked=asked, until="systemctl restart vtapd")
        self._reconciler.reload()
        if new.confinement is not old.confinement:
            await old.confinement.close()
        return changed


def differing_keys(old: Config, new: Config) -> list[str]:
    """Return the keys whose values differ, as paths such as guest.memory."""
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
