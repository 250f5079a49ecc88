"""Run blocking work in a thread. Raises Transient if no thread can be started."""

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

from supervisor.errors import Step, Transient

T = TypeVar("T")

_NO_THREAD = "can't start new thread"  # the text of CPython's RuntimeError (Modules/_threadmodule.c)


async def run_in_thread(function: Callable[[], T]) -> T:
    """Call the function in a worker thread. Raises Transient if none can be started."""
    try:
        return await anyio.to_thread.run_sync(function)
    except RuntimeError as error:
        if str(error) != _NO_THREAD:
            raise
        raise Transient("no thread can be started", step=Step.THREAD, remedy="raise TasksMax or ulimit -u") from error
