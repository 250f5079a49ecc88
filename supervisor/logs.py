"""Log lines: one fact each, everything else key=value. JSON for machines, colours on a terminal."""

import logging
import sys
from typing import Literal

import structlog


def configure_logs(level: str, form: Literal["auto", "json", "console"]) -> None:
    """Set up structlog once, on standard error. `auto` is console on a terminal, else json."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries' own lines would stand beside ours unformatted; what they report reaches us as errors.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)
