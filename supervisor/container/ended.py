"""Containers that have ended: kept for `vtapd ps -a` and `inspect` until Docker forgets them, or starts them again.

They are in memory, and each has a file in the run-time folder for the next daemon. The end of a container's log is not
kept here: Docker has it.
"""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from supervisor.core.container import ContainerId, short_id
from supervisor.core.report.ended import MOST_ENDED, EndedContainer
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.docker import Docker
from supervisor.edges.records import Records
from supervisor.errors import Permanent, Transient

_LAST_LINES = 20

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class EndedContainers:
    """What is kept of all containers that have ended, at most MOST_ENDED."""

    def __init__(self, files: Records, docker: Docker) -> None:
        self._files = files
        self._docker = docker
        self._kept: dict[ContainerId, EndedContainer] = {}
        """In the order of their ends."""

    def load(self) -> None:
        """Read what earlier daemons kept."""
        found = sorted(self._files.read_ended(), key=lambda ended: ended.end.at)
        self._kept = {each.id: each for each in found}
        self._drop_oldest()

    @property
    def names(self) -> Mapping[ContainerId, str]:
        """The names of those that are kept."""
        return {each.id: each.name for each in self._kept.values()}

    def of(self, container_id: ContainerId) -> EndedContainer | None:
        """Return what is kept of a container, if anything is."""
        return self._kept.get(container_id)

    def statuses(self) -> list[ContainerStatus]:
        """Return the status of each."""
        return [each.status for each in self._kept.values()]

    def keep(self, ended: EndedContainer) -> None:
        """Keep a container that has ended, in place of an earlier run of it."""
        self._kept.pop(ended.id, None)
        self._kept[ended.id] = ended
        self._drop_oldest()
        try:
            self._files.write_ended(ended)
        except Transient as error:
            log.warning("ended_container_not_saved", error=str(error))

    def note_name(self, container_id: ContainerId, name: str) -> None:
        """Docker says that this is its name."""
        ended = self._kept.get(container_id)
        if ended is not None and ended.name != name:
            self.keep(replace(ended, name=name))

    def forget(self, container_id: ContainerId) -> None:
        """The container runs again, or Docker has removed it."""
        if self._kept.pop(container_id, None) is None:
            return
        try:
            self._files.delete_ended(container_id)
        except Transient as error:  # the next daemon reads it again, and Docker says then whether it holds
            log.debug("ended_container_not_deleted", container=short_id(container_id), error=str(error))

    async def forget_removed(self) -> None:
        """Forget those that Docker does not know any more. Raises Transient or Permanent if it does not answer."""
        if before := set(self._kept):
            for container_id in before - await self._docker.list_all():
                self.forget(container_id)

    async def last_output(self, container_id: ContainerId, most: int | None = _LAST_LINES) -> list[str] | None:
        """Return the last lines in the container's log, or None if Docker cannot read it.

        `most`: at most so many; None for all that Docker is asked for.
        """
        try:
            output = await self._docker.log(container_id, 0.0)
        except (Transient, Permanent) as error:
            log.debug("log_unknown", error=str(error))
            return None
        lines = output.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
        return lines[-most if most else None :] if output else []

    def _drop_oldest(self) -> None:
        for container_id in list(self._kept)[: max(0, len(self._kept) - MOST_ENDED)]:
            self.forget(container_id)
