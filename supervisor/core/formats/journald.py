"""Format a log line for journald: fields that an administrator can filter by, and a sentence for people.

Keys and values come from labels, guests and Docker too, so neither may end a field and begin another one.
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd's journal-file.c for what a name may be)
"""

import re
from collections.abc import Iterator, Mapping

from supervisor.text import as_text, format_sentence

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # man 3 syslog
_PREFIX = "VTAPD_"
_MAX_NAME = 64  # of a field; journald drops longer ones
_MAX_VALUE = 1 << 20
"""Characters of one value; longer values are cut."""
_MAX_LINE_BYTES = 2000
"""The most bytes of a line on a stream: it is written at once, and is no longer than journald's LineMax=."""
_NO_FIELD = re.compile(r"[^A-Z0-9_]")


def format_entry(event: Mapping[str, object]) -> bytes:
    """Return one datagram of journald's native protocol. `event` has a log line's keys, its name under `event`."""
    return b"".join(_encode(name, as_text(value)[:_MAX_VALUE]) for name, value in _fields(event))


def format_line(event: Mapping[str, object]) -> bytes:
    """Return one line of journald's stream: an entry with its priority in front (man 3 sd-daemon)."""
    sentence = " ".join(filter(None, (format_sentence(event), *as_text(event.get("exception", "")).split("\n"))))
    line = f"<{_priority(event)}>{''.join(char if char.isprintable() else ' ' for char in sentence)}"
    return _to_bytes(line)[:_MAX_LINE_BYTES].decode("utf-8", "ignore").encode() + b"\n"


def _fields(event: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    trace = f"\n{as_text(event['exception'])}" if "exception" in event else ""
    yield "MESSAGE", format_sentence(event) + trace
    yield "PRIORITY", _priority(event)
    yield "SYSLOG_IDENTIFIER", "vtapd"
    for key, value in event.items():
        if key == "container":
            yield "CONTAINER", value
        elif key != "level":
            yield _field_name(key), value


def _priority(event: Mapping[str, object]) -> int:
    return _PRIORITIES.get(str(event.get("level")), _PRIORITIES["info"])


def _field_name(key: str) -> str:
    """Return a valid field name: upper-case ASCII letters, digits and underscores, cut to the most allowed."""
    return (_PREFIX + _NO_FIELD.sub("_", key.upper()))[:_MAX_NAME]


def _to_bytes(text: str) -> bytes:
    """What is no Unicode (half of a pair, a byte of a file name) is shown by its number, since bytes hide the rest."""
    return text.encode("utf-8", "backslashreplace")


def _encode(name: str, text: str) -> bytes:
    value = _to_bytes(text)
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
