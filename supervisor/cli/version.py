"""`vtapd version`: the version of this command, and of the daemon that runs."""

import json

import click

from supervisor.cli.client import ask
from supervisor.cli.options import json_option
from supervisor.text import escape_controls


@click.command()
@json_option
@click.pass_obj
def version(socket_path: str, as_json: bool) -> None:
    """Print the versions of this command and of the daemon.

    They differ between an upgrade and the restart of the daemon. `vtapd --version` asks no daemon.

    \b
    Exit codes:
      0  done
      1  no daemon answers

    \b
    Examples:
      # vtapd version
      # vtapd version --json | jq -r .daemon.version
    """
    from supervisor.version import program_version  # slow to load; only this needs it

    own = program_version()
    if not as_json:
        click.echo(f"vtapd {own}")
    daemon = ask(socket_path, "/version")
    if as_json:
        click.echo(json.dumps({"version": own, "daemon": daemon}, indent=2))
    else:
        click.echo(escape_controls(f"daemon {daemon['version']}, pid {daemon['pid']}, at {socket_path}"))
