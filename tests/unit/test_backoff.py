from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.backoff import Backoff


def test_each_delay_is_twice_the_last_up_to_the_limit() -> None:
    assert list(islice(Backoff(0.1, 1.0).delays_s(), 6)) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_the_growth_can_be_chosen() -> None:
    assert list(islice(Backoff(1.0, 10.0, growth=3).delays_s(), 4)) == [1.0, 3.0, 9.0, 10.0]


@given(st.floats(0.001, 100), st.floats(1, 1e6), st.floats(1, 1e20), st.integers(1, 10**9))
def test_delays_never_fall_and_stay_within_their_bounds(
    first: float, ratio: float, growth: float, failures: int
) -> None:
    backoff = Backoff(first, first * ratio, growth)
    assert first <= backoff.delay_s(failures) <= backoff.delay_s(failures + 1) <= first * ratio
