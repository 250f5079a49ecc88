"""Arguments and options that several commands share."""

import click

from supervisor.cli.completion import complete_container
from supervisor.protocol import CONFIG_PATH

path_type = click.Path(readable=False, allow_dash=True)
"""A path. Whether it can be used is checked by its use, which reports a failure and no misuse."""
names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_container)
name_argument = click.argument("name", shell_complete=complete_container)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
config_option = click.option(
    "-c",
    "--config",
    type=path_type,
    help=f"Configuration file.  [default: {CONFIG_PATH}; built-in defaults if it does not exist]",
)
