"""`vtapd top`: the command. What it draws with is slow to load, and only loaded when it runs."""

import json
import sys
import time

import click

from supervisor.cli.client import ask
from supervisor.cli.options import json_option

_ONE_READING_S = 1.0
"""Between the two readings of --once."""


@click.command()
@click.option("-s", "--sort", "order", type=click.Choice(("cpu", "memory", "network", "restarts", "name")),
              default="cpu", show_default=True, help="What to sort by.")  # fmt: skip
@click.option("-f", "--filter", "text", default="", metavar="WORDS",
              help="Only containers with each of these words in name, kind, state or id.")  # fmt: skip
@click.option("-d", "--interval", type=click.FloatRange(min=0.5, max=3600), default=2.0, show_default=True,
              metavar="SECONDS", help="Time between two readings.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print one table and exit.")
@json_option
@click.pass_obj
def top(socket_path: str, order: str, text: str, interval: float, once: bool, as_json: bool) -> None:
    """Show what containers and their guests use, live.

    A container is counted together with its QEMU, as in `docker stats`. CPU: 100 is one processor. MEM is without files
    that the kernel can drop. RX/s and TX/s are the network, READ/s and WRITE/s are block devices, in bytes per second;
    K, M and G are powers of 1024. READY: whether the guest meets its vtapd.ready. STATE of a guest in backoff has the
    time until its next start. RESTORES counts the restarts that restored a snapshot. A narrow terminal shows fewer
    columns.

    Without a terminal, with --once and with --json it prints one table, of one second. The daemon reads the counters
    only while this command asks. If the daemon ends, the table stays, and continues with the next daemon.

    \b
    Keys:
      c m n r a     sort by CPU, memory, network, restarts, name; again: reverse
      /             filter; Enter ends the text
      Esc           show all
      arrows, Page  scroll
      q, Ctrl-C     quit

    \b
    Exit codes:
      0  done
      1  no daemon answers

    \b
    Examples:
      # vtapd top --sort memory
      # vtapd top --json | jq -r '.[] | select(.cpu_percent > 50) | .name'
    """
    from supervisor.core.report.load import Order, compute_loads, filter_loads, sort_loads
    from supervisor.core.report.top_view import View

    before = ask(socket_path, "/usage")
    if not (once or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        from supervisor.cli.top_terminal import show_live

        sys.exit(show_live(socket_path, interval, View(order=Order(order), filter=text), before))
    time.sleep(_ONE_READING_S)
    loads = sort_loads(filter_loads(compute_loads(before, ask(socket_path, "/usage")), text), Order(order))
    if as_json:
        click.echo(json.dumps(loads, indent=2))
    else:
        from supervisor.cli.top_table import print_table

        print_table(loads, Order(order))
