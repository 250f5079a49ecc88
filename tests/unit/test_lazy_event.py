"""A lazy event wakes everything that waits for it, and everything that waits later."""

import anyio
import anyio.lowlevel

from supervisor.lazy_event import LazyEvent

LONG_S = 60.0


def test_all_that_wait_are_woken() -> None:
    async def wait() -> int:
        event, woken = LazyEvent(), 0

        async def wait_once() -> None:
            nonlocal woken
            await event.wait()
            woken += 1

        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait_once)
                tasks.start_soon(wait_once)
                await anyio.lowlevel.checkpoint()
                assert not event.is_set()
                event.set()
            await wait_once()
        assert event.is_set()
        return woken

    assert anyio.run(wait) == 3


def test_waiting_for_a_set_event_can_be_cancelled() -> None:
    async def wait() -> bool:
        event = LazyEvent()
        event.set()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await event.wait()
        return scope.cancelled_caught

    assert anyio.run(wait)
