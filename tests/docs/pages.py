"""The pages, their generated blocks, and the function that prints each block."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs import commands, configuration, events, guests, labels, metrics, schema

PAGES = sorted((Path(__file__).parents[2] / "supervisor" / "man").glob("*.md"))
BLOCKS: Mapping[str, Callable[[], str]] = {
    "commands": commands.commands,
    "options": commands.options,
    "exit-codes": lambda: commands.section("Exit codes"),
    "files": lambda: commands.section("Files"),
    "environment": lambda: commands.section("Environment"),
    "signals": lambda: commands.section("Signals"),
    "config": configuration.keys,
    "labels": labels.labels,
    "kinds": guests.kinds,
    "exit-reasons": guests.exit_reasons,
    "json": schema.shapes,
    "events": events.events,
    "metrics": metrics.metrics,
    "alerts": metrics.alerts,
}
MARKED = re.compile(r"(<!-- begin generated: ([a-z-]+) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page's text with each generated block as it should be."""
    return MARKED.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n\n{match[4]}", text)
