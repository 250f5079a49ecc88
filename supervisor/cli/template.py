"""`--format`: the part of Docker's templates that picks values, `{{.key}}` and `{{json .key}}`; keys as in --json."""

import json
import re
from collections.abc import Callable
from typing import Any  # the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.text import escape_controls

Template = Callable[[dict[str, Any]], str]

_ALLOWED = "json, or a text with {{.key}}, {{.key.key}}, {{json .key}} or {{json .}}"
_FIELD = re.compile(r"\{\{\s*(json\s+)?\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?\s*\}\}")
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def parse_template(_context: click.Context, _option: click.Parameter, text: str | None) -> Template | None:
    """Return a function that formats one object. For an option of click's."""
    if text is None:
        return None
    text = "{{json .}}" if text == "json" else text
    if "{{" in (rest := _FIELD.sub("", text)) or "}}" in rest:
        raise click.BadParameter(f"{text!r} is not understood; allowed is {_ALLOWED}")
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return lambda values: _FIELD.sub(lambda field: _formatted(values, field[1] is not None, field[2]), text)


format_option = click.option(
    "--format",
    "template",
    callback=parse_template,
    metavar="TEMPLATE",
    help="Print this text for each container, such as '{{.name}} {{.state}}', with the keys of --json; json prints one "
    "object a line.",
)


def _formatted(values: dict[str, Any], as_json: bool, path: str | None) -> str:
    value: Any = values
    for key in path.split(".") if path else ():
        if value is None:
            break
        if not isinstance(value, dict) or key not in value:
            keys = f"; its keys are {', '.join(value)}" if isinstance(value, dict) else ""
            raise click.UsageError(f"there is no key {key!r}{keys}")
        value = value[key]
    if as_json or isinstance(value, dict | list | bool):
        return json.dumps(value)
    return "" if value is None else escape_controls(str(value))
