"""Marks for a worker, and those who wait for what it does about them.

A mark says only that something may have changed. Many marks count as one, and a mark that comes while the worker looks
makes it look once more. So an event that is lost, doubled or late costs nothing.
"""

from collections.abc import Callable

import anyio


class Mailbox:
    """`mark` it from anywhere in the loop; one worker calls `begin_look`, `end_look` and `wait`."""

    def __init__(self) -> None:
        self._marked = anyio.Event()
        self._converged = anyio.Event()
        self._looked = anyio.Event()
        """Set, and replaced, at the end of each look."""

    def mark(self) -> None:
        """Ask for a look, soon."""
        if self._converged.is_set():
            self._converged = anyio.Event()
        self._marked.set()

    def is_marked(self) -> bool:
        """Whether it was marked since the last look began."""
        return self._marked.is_set()

    def begin_look(self) -> None:
        """Take the marks. Later ones ask for another look."""
        self._marked = anyio.Event()

    def end_look(self, *, converged: bool = False) -> None:
        """Wake those who wait for a look. `converged`: nothing differs, or something failed."""
        self._looked.set()
        self._looked = anyio.Event()
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
        """Wait until `reached`, which is called after each look that ends from now on. Returns False on timeout."""
        with anyio.move_on_after(timeout_s):
            while True:
                await self._looked.wait()
                if reached():
                    return True
        return False
