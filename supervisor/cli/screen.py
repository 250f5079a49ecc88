"""`vtapd screen`: the command. What shows the screen live is slow to load, and only loaded for that."""

import json
import sys

import click

from supervisor.cli.client import ask, fail, fetch, url_of
from supervisor.cli.options import json_option, name_argument, path_type
from supervisor.text import escape_controls

_SCREEN_S = 60.0


@click.command()
@name_argument
@click.option("-o", "--output", type=path_type, metavar="FILE.png",
              help="Save a picture as PNG; - is standard output.")  # fmt: skip
@click.option("--view", is_flag=True, help="Only watch: keys do not go to the guest.")
@json_option
@click.pass_obj
def screen(socket_path: str, name: str, output: str | None, view: bool, as_json: bool) -> None:
    """Show the screen of a guest, live, or save it as a picture.

    The guest has a screen if its container was started with label vtapd.screen=true, on machine pc or q35.

    Without -o the screen is shown in the terminal, as text with colours, and what is typed goes to the guest, as keys
    of a US keyboard. Ctrl-] leaves. This works in the text modes of the VGA card; in a graphics mode the command says
    so. It stays while the guest restarts, until the container ends. QEMU draws the screen only while it is looked at,
    ten times a second at most. If standard output is no terminal, the text is printed once.

    \b
    Exit codes:
      0  done, or left by Ctrl-]
      1  no guest runs, it has no screen, or the file cannot be written

    \b
    Examples:
      # vtapd screen web
      # vtapd screen web -o web.png
      # vtapd screen web | grep -i panic
    """
    if output is not None:
        if view:
            raise click.UsageError("--view is for the live screen, without -o")
        _save(socket_path, name, output, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json needs -o")
    from supervisor.cli.live_screen import read_text, show_live

    name = ask(socket_path, url_of(name))["name"]
    url = url_of(name, "screen", "live")
    if sys.stdin.isatty() and sys.stdout.isatty():
        sys.exit(show_live(socket_path, url, name, view=view))
    click.echo(read_text(socket_path, url, name))


def _save(socket_path: str, name: str, output: str, *, as_json: bool) -> None:
    picture = fetch(socket_path, url_of(name, "screen"), _SCREEN_S)
    if output == "-":
        sys.stdout.buffer.write(picture)
        return
    try:
        with open(output, "wb") as file:
            file.write(picture)
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))  # PNG, third edition: IHDR comes first
    shown = {"name": name, "file": output, "width": width, "height": height}  # ScreenShape of core/report/schema.py
    click.echo(json.dumps(shown, indent=2) if as_json else escape_controls(f"{output}: {width}x{height}"))
