"""Files of a cgroup that count memory and block devices' traffic."""

import pytest

from supervisor.core.formats.cgroup_counters import parse_blkio, parse_io_stat, parse_limit, parse_number


@pytest.mark.parametrize(("text", "found"), [("7", 7), ("", None), ("max", None), ("-1", None), ("²", None)])
def test_number(text: str, found: int | None) -> None:
    assert parse_number(text) == found


@pytest.mark.parametrize(
    ("text", "found"), [("67108864", 1 << 26), ("max", None), ("9223372036854771712", None), ("", None), ("0", 0)]
)
def test_limit(text: str, found: int | None) -> None:
    assert parse_limit(text) == found


def test_io_stat_sums_the_devices() -> None:
    text = "8:16 rbytes=1459200 wbytes=314773504 rios=192\n8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:0"
    assert parse_io_stat(text) == (1459201, 314773506)
    assert parse_io_stat("") == (0, 0)


def test_blkio_sums_the_devices() -> None:
    text = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:16 Read 1\n8:16 Write 2\n8:16 Total x\nTotal 66"
    assert parse_blkio(text) == (11, 22)
    assert parse_blkio("Total 0") == (0, 0)
