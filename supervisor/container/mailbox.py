"""Marks for a worker, and those who wait for what it does about them.

A mark says only that something may have changed. Many marks count as one, and a mark that comes during a pass
asks for another pass. So an event that is lost, doubled or late costs nothing.
"""

from collections.abc import Callable

import anyio

from supervisor.lazy_event import LazyEvent


class Mailbox:
    """`mark` it from anywhere in the loop; one worker calls `begin_pass`, `end_pass` and `wait`."""

    def __init__(self) -> None:
        self._marked = LazyEvent()
        self._converged = LazyEvent()
        self._passed = LazyEvent()
        """Set, and replaced, at the end of each pass."""

    def mark(self) -> None:
        """Ask for a pass, soon."""
        if self._converged.is_set():
            self._converged = LazyEvent()
        self._marked.set()

    def is_marked(self) -> bool:
        """Whether it was marked since the last pass began."""
        return self._marked.is_set()

    def begin_pass(self) -> None:
        """Take the marks. Later ones ask for another pass."""
        self._marked = LazyEvent()

    def end_pass(self, *, converged: bool = False) -> None:
        """Wake those who wait for a pass. `converged`: nothing differs, or something failed."""
        self._passed.set()
        self._passed = LazyEvent()
        if converged and not self.is_marked():
            self._converged.set()

    async def wait(self, timeout_s: float | None) -> None:
        """Wait for a mark, at most so long; without a limit if `timeout_s` is None."""
        with anyio.move_on_after(timeout_s):
            await self._marked.wait()

    async def wait_converged(self, timeout_s: float) -> bool:
        """Wait until nothing differs, or something failed. Returns False on timeout."""
        converged = self._converged  # a later mark replaces it
        with anyio.move_on_after(timeout_s):
            await converged.wait()
        return converged.is_set()

    async def wait_for(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `reached`, which is called after each pass that ends from now on. Returns False on timeout."""
        with anyio.move_on_after(timeout_s):
            while True:
                await self._passed.wait()
                if reached():
                    return True
        return False
