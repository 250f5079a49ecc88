"""Keep guests running whose logs are not read while no daemon runs: the daemon does it otherwise."""

import time
from collections.abc import Iterable

from supervisor.container_log.files import find_log
from supervisor.container_log.keeper import LogKeeper

_PATIENCE_S = 1.0
_LOOK_S, _LOOK_UNREAD_S = 1.0, 0.05
"""Between two looks. Here it is not known when a guest prints."""


class UnreadLogs:
    """The logs of the guests that run. They are found when the daemon has gone."""

    def __init__(self) -> None:
        self._keepers: dict[int, LogKeeper | None] = {}

    def close(self) -> None:
        """Leave the logs to a daemon."""
        for keeper in self._keepers.values():
            if keeper is not None:
                keeper.close()
        self._keepers.clear()

    def forget(self, qemu: int) -> None:
        """This QEMU has exited."""
        keeper = self._keepers.pop(qemu, None)
        if keeper is not None:
            keeper.close()

    def look(self, qemus: Iterable[int]) -> float:
        """Make room in the logs of these QEMUs. Return in how many seconds to look again."""
        pause_s = _LOOK_S
        for qemu in qemus:
            if qemu not in self._keepers:
                found = find_log(qemu)
                self._keepers[qemu] = LogKeeper(found, _PATIENCE_S) if found is not None else None
            keeper = self._keepers[qemu]
            if keeper is not None:
                soon_s = keeper.look(time.monotonic())
                if soon_s is None and keeper.is_unread:
                    soon_s = _LOOK_UNREAD_S
                pause_s = min(pause_s, soon_s or _LOOK_S)
        return pause_s
