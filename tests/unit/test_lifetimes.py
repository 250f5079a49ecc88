"""The remaining lifetime of an address or a route."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.attach.lifetimes import FOREVER_S, Lifetime, is_due, lifetime_left
from supervisor.core.links import Address, Route

ADDRESS = Address(6, "2001:db8::9", 64)
SECONDS = st.integers(1, 0xFFFFFFFE) | st.just(FOREVER_S)


def test_permanent_address_has_no_end() -> None:
    assert lifetime_left(ADDRESS, 1e9) == Lifetime() == Lifetime(FOREVER_S, FOREVER_S)
    assert lifetime_left(Route(6, "", 0, "fe80::1"), 1e9) == Lifetime()
    assert Lifetime().of(ADDRESS, 5.0) is ADDRESS


@pytest.mark.parametrize(
    ("now_s", "left"),
    [
        (1000.0, Lifetime(300, 200)),
        (1000.3, Lifetime(299, 199)),
        (1200.0, Lifetime(100, 0)),
        (1299.0, Lifetime(1, 0)),
        (1299.5, None),
        (1400.0, None),
    ],
)
def test_lifetime_is_counted_down_in_whole_seconds(now_s: float, left: Lifetime | None) -> None:
    fading = Lifetime(300, 200).of(ADDRESS, 1000.0)
    assert lifetime_left(fading, now_s) == left
    assert is_due(fading, now_s) == (left is not None)


def test_route_expires_and_is_never_deprecated() -> None:
    fading = Route(6, "", 0, "fe80::1", valid_until_s=1060.0)
    assert lifetime_left(fading, 1000.0) == Lifetime(60, 60)
    assert lifetime_left(fading, 1060.0) is None


def test_deprecated_permanent_address_stays_deprecated() -> None:
    assert lifetime_left(Lifetime(preferred_s=0).of(ADDRESS, 1000.0), 2000.0) == Lifetime(FOREVER_S, 0)


@given(SECONDS, SECONDS, st.floats(0, 1e9), st.floats(0, 1e9))
def test_lifetime_never_grows(valid_s: int, preferred_s: int, taken_s: float, later_s: float) -> None:
    left = lifetime_left(Lifetime(valid_s, preferred_s).of(ADDRESS, taken_s), taken_s + later_s)
    if left is not None:
        assert left.valid_s <= valid_s
        assert left.preferred_s <= min(preferred_s, left.valid_s), (
            "Linux refuses a preferred lifetime above the valid one"
        )
