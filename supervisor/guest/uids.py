"""Give each guest a UID that no other running guest has, so that no guest can reach another's process."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from supervisor.core.container import Pid, User
from supervisor.edges.kernel import process
from supervisor.edges.qemu import spawn
from supervisor.errors import ContainerGone


class UidPool:
    """The UIDs of one configuration. A daemon has one at a time."""

    def __init__(
        self, user: User, uids: range, holders: Mapping[int, tuple[Pid, int]] | None = None, turn: int = 0
    ) -> None:
        """An empty range lets all guests run as `user`. `turn` counts the UIDs that were given out before."""
        self._user = user
        self._uids = uids
        self._next = turn
        self._holders = dict(holders or {})
        """By UID, the pid and start time of the guest that runs under it."""

    def reconfigured(self, user: User, uids: range) -> "UidPool":
        """Return a pool for another configuration that knows the guests that run already.

        It goes on after the UID that was given out last: a guest that is starting is in no record yet.
        """
        return UidPool(user, uids, self._holders, self._next)

    def next_user(self) -> User:
        """Return a user for the next guest. If every UID is taken, guests share the configured user's."""
        for _ in self._uids:
            uid = self._uids[self._next % len(self._uids)]
            self._next += 1
            if not self._is_held(uid):
                return replace(self._user, uid=uid)
        return self._user

    def limits(self, user: User, cpus: int) -> dict[int, int]:
        """Return the resource limits of a guest that runs as this user."""
        return spawn.limits_of(cpus, alone=user.uid != self._user.uid)

    def note_running(self, pid: Pid) -> None:
        """Reserve the UID that this guest's process has, until the process exits."""
        uid = process.observe_user(pid)
        with suppress(ContainerGone):
            if uid is not None:
                self._holders[uid] = (pid, process.start_ticks(pid))

    def _is_held(self, uid: int) -> bool:
        if uid not in self._holders:
            return False
        pid, ticks = self._holders[uid]
        with suppress(ContainerGone):
            if process.start_ticks(pid) == ticks:
                return True
        del self._holders[uid]
        return False
