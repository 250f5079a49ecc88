import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("65536", 65536),
        ("7b", 7),
        ("3k", 3072),
        ("64M", 64 << 20),
        ("64 MiB", 64 << 20),
        ("64mb", 64 << 20),
        (" 1g ", 1 << 30),
        ("2T", 2 << 40),
        ("0", 0),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "64X", "64 M M", "1e3", "0x10", "9" * 16])
def test_wrong_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="64M"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("100ms", 0.1), ("10s", 10.0), ("1.5m", 90.0), ("2h", 7200.0), (" 0s ", 0.0)]
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1 s", "1d", "1.s", ".5s", "inf", "1e3s", "10S"])
def test_wrong_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="100ms"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_parsed_or_raises_value_error(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as refusal:
            expected = str(refusal)
            assert expected.startswith("a ")  # the message says what is allowed; it is not Python's own
