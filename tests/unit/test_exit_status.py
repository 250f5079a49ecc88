"""A guest's end as the exit status of its container."""

import pytest

from supervisor.core.guest.exit_status import exit_status
from supervisor.core.guest.restart import EXIT_REASONS
from supervisor.core.record import Exit


@pytest.mark.parametrize(
    ("reason", "code", "status"),
    [
        ("guest-exit", 0, 0),
        ("guest-exit", 7, 7),
        ("guest-exit", 255, 255),
        ("guest-exit", -1, 255),
        ("guest-exit", 256, 1),
        ("guest-exit", None, 1),
        ("guest-panic", None, 134),
        ("guest-reset", None, 139),
        ("hang", None, 142),
        ("oom-kill", None, 137),
        ("stopped", None, 143),
        ("qemu-signal", 11, 139),
        ("qemu-exit", 3, 3),
        ("qemu-exit", 0, 1),
        ("qemu-exit", None, 1),
    ],
)
def test_status_is_that_of_a_process_with_such_an_end(reason: str, code: int | None, status: int) -> None:
    assert exit_status(Exit(reason, code)) == status


@pytest.mark.parametrize("reason", EXIT_REASONS)
@pytest.mark.parametrize("code", [None, 0, 1, 127, 256, 512, -1])
def test_only_a_clean_exit_is_success(reason: str, code: int | None) -> None:
    status = exit_status(Exit(reason, code))
    assert 0 <= status <= 255
    assert (status == 0) == (reason == "guest-exit" and code == 0)
