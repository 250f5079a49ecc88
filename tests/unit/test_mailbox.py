"""Marks for a worker are never lost, and those who wait for its looks are woken."""

import anyio
import anyio.lowlevel

from supervisor.container.mailbox import Mailbox

SOON_S, LONG_S = 0.01, 60.0


def test_mark_during_a_look_asks_for_another_one() -> None:
    mailbox = Mailbox()
    mailbox.mark()
    mailbox.begin_pass()
    assert not mailbox.is_marked()
    mailbox.mark()
    mailbox.end_pass(converged=True)
    assert mailbox.is_marked()


def test_wait_returns_at_a_mark_or_on_timeout() -> None:
    async def wait() -> None:
        mailbox = Mailbox()
        await mailbox.wait(SOON_S)
        mailbox.mark()
        await mailbox.wait(None)

    anyio.run(wait)


def test_wait_converged_waits_for_the_look_after_the_mark() -> None:
    async def wait() -> list[bool]:
        mailbox = Mailbox()
        answers = [await mailbox.wait_converged(SOON_S)]
        mailbox.begin_pass()
        mailbox.end_pass(converged=True)
        answers.append(await mailbox.wait_converged(SOON_S))
        mailbox.mark()
        answers.append(await mailbox.wait_converged(SOON_S))
        mailbox.begin_pass()
        mailbox.mark()
        mailbox.end_pass(converged=True)
        answers.append(await mailbox.wait_converged(SOON_S))
        return answers

    assert anyio.run(wait) == [False, True, False, False]


def test_wait_for_is_asked_after_each_look_until_it_holds() -> None:
    async def wait() -> tuple[bool, bool, int]:
        mailbox, looks = Mailbox(), 0

        async def look() -> None:
            nonlocal looks
            while looks < 3:
                await anyio.lowlevel.checkpoint()
                mailbox.begin_pass()
                looks += 1
                mailbox.end_pass()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            reached = await mailbox.wait_for(lambda: looks >= 2, LONG_S)
            at = looks
        return reached, await mailbox.wait_for(lambda: True, SOON_S), at

    reached, again, at = anyio.run(wait)
    assert reached
    assert not again, "no look ended after that"
    assert at >= 2
