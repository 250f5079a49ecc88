"""Which signals mean that the container is about to end, and for how long."""

import signal

import pytest

from supervisor.core.guest.stop_signal import asks_to_end, grace_s
from tests.unit.examples import container


@pytest.mark.parametrize(
    ("container_s", "guest_s", "expected_s"),
    [(10.0, 0.0, 15.0), (0.0, 60.0, 65.0), (-1.0, 10.0, 3605.0), (1e9, 10.0, 3605.0)],
)
def test_grace_has_an_end(container_s: float, guest_s: float, expected_s: float) -> None:
    assert grace_s(container_s, guest_s) == expected_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGRTMIN + 3])
def test_vtapd_init_ends_at_more_signals_than_the_stop_signal(number: int) -> None:
    assert asks_to_end(number, container(has_vtapd_init=True))
    assert not asks_to_end(number, container())


def test_stop_signal_asks_any_container_to_end() -> None:
    assert asks_to_end(signal.SIGTERM, container())
    assert asks_to_end(signal.SIGUSR1, container(stop_signal=signal.SIGUSR1))
    assert not asks_to_end(signal.SIGHUP, container(has_vtapd_init=True))
    assert not asks_to_end(None, container(has_vtapd_init=True))
