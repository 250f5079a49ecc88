"""Words for the shell's Tab key: click's own scripts for commands and options, and the daemon's word for containers."""

import re
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from supervisor.cli import client

SHELLS = ("bash", "zsh", "fish")
_ANSWER_S = 2.0
"""Somebody waits at a prompt."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Docker's rule for names. The shell gets nothing else to read, whoever answers on the socket."""


def script_of(shell: str, command: click.Command) -> str:
    """What that shell reads once; it then runs the command itself to be told the words."""
    found = get_completion_class(shell)
    assert found is not None, "click knows all of SHELLS"
    return found(command, {}, "vtapd", "_VTAPD_COMPLETE").source()


def complete_container(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of containers that begin like this; none where no daemon answers."""
    rows = client.get(Path(context.find_root().params["socket_path"]), "/containers", _ANSWER_S)
    names = [str(row.get("name")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [name for name in names if name.startswith(incomplete) and _NAME.fullmatch(name)]
