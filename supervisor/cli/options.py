"""Arguments and options that several commands share."""

import click

from supervisor.cli.completion import complete_container
from supervisor.protocol import CONFIG_PATH

name_argument = click.argument("name", shell_complete=complete_container)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
config_option = click.option(
    "-c",
    "--config",
    type=click.Path(),
    help=f"Configuration file.  [default: {CONFIG_PATH}; built-in defaults if it does not exist]",
)
