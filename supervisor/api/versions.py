"""Find the versions of Docker and QEMU for the status page. Asks only while a browser looks, and after a change."""

import re

import anyio

from supervisor.container.context import Context
from supervisor.container.reconciler import Reconciler
from supervisor.edges.qemu.version import Identity, ask_version, locate
from supervisor.errors import Permanent, Transient

_DOCKER_S = 1.0
"""The page does not wait longer for Docker."""
_VERSION = re.compile(r"version (\d+(?:\.\d+)+)")


class Versions:
    """What Docker and QEMU said last."""

    def __init__(self, context: Context, reconciler: Reconciler, docker: str) -> None:
        """`docker`: the version at the daemon's start."""
        self._context = context
        self._reconciler = reconciler
        self._docker = docker
        self._connection = 1
        """The connection for which Docker was asked."""
        self._qemu: str | None = None
        self._program: tuple[str, Identity | None] | None = None
        """The program that QEMU's version is of."""

    async def docker(self) -> str:
        """Return Docker's version. It is asked for again after each reconnection."""
        if self._connection < self._reconciler.connections:
            self._connection = self._reconciler.connections
            try:
                with anyio.fail_after(_DOCKER_S):
                    self._docker = (await self._context.docker.engine()).version
            except (Transient, Permanent, TimeoutError):
                pass  # the old version is still the best answer
        return self._docker

    async def qemu(self) -> str | None:
        """Return QEMU's version, or None if it cannot be started. It is asked for again if the program changes."""
        path, identity = locate(self._context.config.guest.qemu)
        if self._program != (str(path), identity):
            self._program = str(path), identity
            self._qemu = await self._ask_qemu(str(path)) if identity is not None else None
        return self._qemu

    async def _ask_qemu(self, path: str) -> str | None:
        try:
            _, said = await ask_version(path, self._context.settings.user)
        except Permanent:
            return None
        match = _VERSION.search(said)
        return match[1] if match else None
