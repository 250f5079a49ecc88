"""Write figures as tables and plots for people and as JSON for machines."""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .figures import Figure, Spread, Unit, spread
from .plot import figure_svg

COLUMNS = ("what", "vtapd", "rival", "rival's", "ratio", "limit")
README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- begin generated: benchmark -->\n", "<!-- end generated -->"


def print_table(figures: list[Figure], console: Console) -> None:
    table = Table(title="vtapd against its rivals: median (quartiles)", title_justify="left", caption_justify="left")
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading in ("what", "rival") else "right")
    for figure in figures:
        table.add_row(*_row(figure), style=None if figure.meets_limit else "bold red")
    console.print(table)


def write_readme(figures: list[Figure], path: Path = README) -> None:
    """Replace the table in tests/bench/README.md, and the line above it that names the machine."""
    facts = machine_facts()
    machine = ", ".join(f"{name} {facts[name]}" for name in ("cpus", "kernel", "python", "docker", "qemu"))
    rows = (COLUMNS, ("---",) * len(COLUMNS), *map(_row, figures))
    table = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)
    text = path.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin, f"{path} has no mark where the table begins"
    assert end, f"{path} has no mark where the table ends"
    path.write_text(f"{before}{begin}\nMeasured at {facts['at']}: {machine}.\n\n{table}\n{end}{after}")


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = _format(figure.ratio) + (" faster" if figure.direction == "times faster" else "")
    limit = "" if figure.limit is None else f"{figure.limit} {'✓' if figure.meets_limit else '✗ missed'}"
    ours, theirs = (_format(spread(values), figure.unit) for values in (figure.ours, figure.theirs))
    return figure.what, ours, figure.rival, theirs, ratio, limit


def write_results(figures: list[Figure], folder: Path) -> None:
    """Write a plot of each figure, and JSON with every single value and the machine that it was taken on."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = machine_facts()
    for figure in figures:
        content = {name: value for name, value in asdict(figure).items() if name != "drawn"} | {
            "ratio": asdict(figure.ratio),
            "ratios": figure.ratios,
            "meets_limit": figure.meets_limit,
            "machine": machine,
        }
        (folder / f"{figure.name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        (folder / f"{figure.name}.svg").write_text(figure.drawn or figure_svg(figure))


def _format(values: Spread, unit: Unit | None = None) -> str:
    scale, suffix, digits = 1.0, f" {unit}" if unit else "", 1
    if unit == "s":
        scale, suffix = (1e3, " ms") if values.median < 1 else (1.0, " s")
    if 0 < values.median * scale < 10:
        digits = 2
    low, middle, high = (f"{value * scale:.{digits}f}" for value in (values.low, values.median, values.high))
    if low == middle == high:
        return f"{middle}{suffix}"
    return f"{middle} ({low}-{high}){suffix}"


def machine_facts() -> dict[str, object]:
    """Return where and when it is measured."""

    def first_line(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout.partition("\n")[0]

    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "docker": first_line("dockerd", "--version"),
        "qemu": first_line("qemu-system-x86_64", "--version"),
        "commit": first_line("git", "describe", "--always", "--dirty"),
    }
