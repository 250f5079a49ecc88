"""The `vtapd` command. Exit codes: 0 done, 1 failed, 2 misuse."""

import json
from pathlib import Path

import click

from supervisor import commands
from supervisor.client import ask, fail, first_of, url_of
from supervisor.config import DEFAULT_PATH, DEFAULT_RUN_DIR, load_config
from supervisor.errors import VtapdError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    "socket_path",
    envvar="VTAPD_SOCKET",
    type=click.Path(path_type=Path),
    default=DEFAULT_RUN_DIR / "control.sock",
    show_default=True,
    help="Where the daemon listens (environment: VTAPD_SOCKET).",
)
@click.version_option(package_name="vtapd", prog_name="vtapd", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, socket_path: Path) -> None:
    """vtapd gives Docker containers a guest: a unikernel or microVM that serves on the container's own address."""
    context.obj = socket_path


@main.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help=f"Configuration file.  [default: {DEFAULT_PATH}, or all defaults where that does not exist]",
)
def run(config: Path | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or SIGINT. Guests are left running."""
    # Imported here: the other commands need none of it and should answer at once.
    import anyio

    from supervisor.daemon import run_daemon
    from supervisor.logs import configure_logs

    try:
        loaded = load_config(config)
        configure_logs(loaded.log.level, loaded.log.format)
        anyio.run(run_daemon, loaded)
    except* VtapdError as group:
        fail(str(first_of(group)))


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def check_config(file: Path) -> None:
    """Check a configuration file without starting anything."""
    try:
        load_config(file)
    except VtapdError as error:
        fail(str(error))
    click.echo(f"{file} is right")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ps(socket_path: Path, as_json: bool) -> None:
    """List the containers that vtapd knows, with their guests."""
    rows = ask(socket_path, "/containers")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from supervisor.tables import print_containers

    print_containers(rows)


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def inspect(socket_path: Path, name: str, as_json: bool) -> None:
    """Show all about one container: NAME is its name, its id, or the beginning of its id."""
    answer = ask(socket_path, url_of(name))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from supervisor.tables import print_details

    print_details(answer)


for command in commands.COMMANDS:
    main.add_command(command)
