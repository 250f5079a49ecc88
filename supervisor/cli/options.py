"""Arguments and options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar  # a command's parameters are click's

import click

from supervisor.cli.completion import complete_container
from supervisor.protocol import CONFIG_PATH

path_type = click.Path(readable=False, allow_dash=True)
"""A path. Whether it can be used is checked by its use, which reports a failure and no misuse."""
names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_container)
Command = TypeVar("Command", bound=Callable[..., Any])


def names_or_all(command: Command) -> Command:
    """Add NAMEs, or --all in their place."""
    names = click.argument("names", nargs=-1, metavar="NAME...|--all", shell_complete=complete_container)
    all_of_them = "Every guest whose QEMU was replaced since its start."
    return names(click.option("--all", "all_guests", is_flag=True, help=all_of_them)(command))


name_argument = click.argument("name", shell_complete=complete_container)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
config_option = click.option(
    "-c",
    "--config",
    type=path_type,
    help=f"Configuration file.  [default: {CONFIG_PATH}; built-in defaults if it does not exist]",
)
