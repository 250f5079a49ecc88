"""Shell completion: click's own scripts for commands and options, and the daemon's list for containers' names."""

import re

import click

from supervisor.cli import client

SHELLS = ("bash", "zsh", "fish")
_ANSWER_S = 2.0
"""Short, because a user waits at a prompt."""
_ALSO_ENDED = ("ps", "inspect", "logs", "events")
"""The commands that know containers that have ended."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Docker's rule for names. Nothing else is passed to the shell, whatever answers on the socket."""


def script_of(shell: str, command: click.Command) -> str:
    """Return the script that the shell sources. It runs the command itself to get the completions."""
    from click.shell_completion import get_completion_class  # slow to load; other commands do not need it

    found = get_completion_class(shell)
    assert found is not None, "click knows all of SHELLS"
    return found(command, {}, "vtapd", "_VTAPD_COMPLETE").source()


def complete_container(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of containers that begin like this, or none if no daemon answers."""
    path = context.find_root().params["socket_path"] or client.find_socket()
    url = "/containers?all" if context.command.name in _ALSO_ENDED else "/containers"
    rows = client.get(path, url, _ANSWER_S)
    names = [str(row.get("name")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [name for name in names if name.startswith(incomplete) and _NAME.fullmatch(name)]
