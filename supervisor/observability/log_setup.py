"""Log lines: one fact each, all else key=value. Fields for journald, JSON for machines, colours on a terminal."""

import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Literal

import structlog

from supervisor.core.formats.journald import format_entry, format_line
from supervisor.edges.systemd.journal import Journal, stderr_is_journal
from supervisor.observability.event_stream import BROADCAST, FOLLOWED
from supervisor.observability.log_stream import StreamLogger
from supervisor.text import escape_controls


class NameInLog:
    """A container's name in the lines of all its tasks, of those too that began when it had another one.

    What a task has bound is copied when it begins (contextvars), so it is bound as something that can change.
    """

    def __init__(self, name: str) -> None:
        self.name = name


def configure_logs(level: str, form: Literal["auto", "journal", "json", "console"]) -> None:
    """Set up structlog, on standard error; again where the configuration changes.

    `auto` is console on a terminal, journal in a service, else json.
    """
    last, factory = _journal() if form in ("auto", "journal") and stderr_is_journal() else _stream(form)
    lowest = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _name_now,
            structlog.processors.add_log_level,
            BROADCAST.publish,
            *([] if lowest <= FOLLOWED else [partial(_drop_below, lowest)]),
            structlog.processors.format_exc_info,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(lowest, FOLLOWED)),
        logger_factory=factory,
    )
    # Libraries' own lines would not be formatted as ours; what they report reaches us as errors.
    logging.getLogger().addHandler(logging.NullHandler())


def _name_now(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    shown = event.get("container")
    if isinstance(shown, NameInLog):
        event["container"] = shown.name
    return event


def silence_logs() -> None:
    """For a command that says what it found in words of its own."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    logging.getLogger().addHandler(logging.NullHandler())


def _drop_below(lowest: int, _: object, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if structlog.processors.NAME_TO_LEVEL[method] < lowest:
        raise structlog.DropEvent
    return event


_Output = tuple[list[structlog.types.Processor], Callable[..., object]]


def _stream(form: str) -> _Output:
    terminal = sys.stderr.isatty()
    console = form == "console" or (form == "auto" and terminal)
    colours = terminal and not os.environ.get("NO_COLOR")
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=colours) if console else structlog.processors.JSONRenderer(sort_keys=False)
    )
    shown = [_escape] if console else []  # JSON escapes by itself
    logger = StreamLogger(sys.stderr)  # one for all, as it counts what is lost
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), *shown, renderer], lambda *_: logger


def _escape(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Labels, guests and Docker speak through a line's values; only a traceback has lines of its own."""
    return {key: _escaped(value, lines=key == "exception") for key, value in event.items()}


def _escaped(value: object, *, lines: bool) -> object:
    if not isinstance(value, str):
        return value
    return "\n".join(map(escape_controls, value.split("\n"))) if lines else escape_controls(value)


def _journal() -> _Output:
    """Without a time: journald has a better one."""
    journal = _only_journal()
    return [_to_journal], lambda *_: _JournalLogger(journal)


@cache
def _only_journal() -> Journal:
    return Journal()


def _to_journal(_: object, __: str, event: structlog.types.EventDict) -> tuple[tuple[bytes, bytes], dict[str, object]]:
    """The arguments of _JournalLogger's methods."""
    return (format_entry(event), format_line(event)), {}


class _JournalLogger:
    """Where structlog's lines end; it calls the method that is named as the level."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def msg(self, entry: bytes, line: bytes) -> None:
        self._journal.send(entry, line)

    debug = info = warning = error = critical = msg
