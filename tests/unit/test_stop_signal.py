"""How long a stop signal means that the container is about to end."""

import pytest

from supervisor.core.guest.stop_signal import grace_s


@pytest.mark.parametrize(
    ("container_s", "guest_s", "expected_s"),
    [(10.0, 0.0, 15.0), (0.0, 60.0, 65.0), (-1.0, 10.0, 3605.0), (1e9, 10.0, 3605.0)],
)
def test_grace_has_an_end(container_s: float, guest_s: float, expected_s: float) -> None:
    assert grace_s(container_s, guest_s) == expected_s
