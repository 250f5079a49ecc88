"""An event that takes almost no memory as long as nothing waits for it. Each guest has a dozen of them."""

import anyio
import anyio.lowlevel


class LazyEvent:
    """Like `anyio.Event`, which has a queue for its waiters from the start."""

    __slots__ = ("_is_set", "_waited_for")

    def __init__(self) -> None:
        self._is_set = False
        self._waited_for: anyio.Event | None = None

    def set(self) -> None:
        """Wake everything that waits, now and later."""
        self._is_set = True
        if self._waited_for is not None:
            self._waited_for.set()
            self._waited_for = None

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._is_set

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._is_set:
            await anyio.lowlevel.checkpoint()
            return
        if self._waited_for is None:
            self._waited_for = anyio.Event()
        await self._waited_for.wait()
