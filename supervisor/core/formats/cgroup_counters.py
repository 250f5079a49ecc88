"""Parse files of a cgroup that count memory and block devices' traffic.

(Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/blkio-controller.rst)
"""

from collections.abc import Iterator

_NO_V1_LIMIT = 1 << 62
"""From here on, a limit of v1's memory controller is none: it is PAGE_COUNTER_MAX, in bytes (linux/page_counter.h)."""


def parse_number(text: str) -> int | None:
    """Return the number that a file holds; None if there is no such file, or no number in it, as in `max`."""
    return int(text) if text.isascii() and text.isdecimal() else None


def parse_limit(text: str) -> int | None:
    """Return the limit in memory.max (v2) or memory.limit_in_bytes (v1); None if there is none."""
    limit = parse_number(text)
    return None if limit is None or limit >= _NO_V1_LIMIT else limit


def parse_io_stat(text: str) -> tuple[int, int]:
    """Return the bytes read and written, on all devices, in io.stat of v2."""
    words = [word.partition("=") for word in text.split()]
    return _sum_of(words, "rbytes"), _sum_of(words, "wbytes")


def parse_blkio(text: str) -> tuple[int, int]:
    """Return the bytes read and written, on all devices, in blkio.throttle.io_service_bytes_recursive of v1."""
    lines = [line.split(" ") for line in text.splitlines()]
    words = [(line[1], "", line[2]) for line in lines if len(line) == 3]
    return _sum_of(words, "Read"), _sum_of(words, "Write")


def _sum_of(words: list[tuple[str, str, str]], name: str) -> int:
    return sum(_numbers(words, name))


def _numbers(words: list[tuple[str, str, str]], name: str) -> Iterator[int]:
    for key, _, value in words:
        number = parse_number(value) if key == name else None
        if number is not None:
            yield number
