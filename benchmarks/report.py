"""The tables on the terminal, and the same as files: Markdown, raw figures, plots."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measurement import Figures, Finding, Grid, Measurement, NotRun

RESULTS = Path(__file__).parent / "results"

_WIDTH_OF_A_FILE = 160
_COLUMNS = ("", "What", "Measured", "Target", "Reached", "Detail")


def print_tables(machine: Mapping[str, str], findings: Sequence[Finding]) -> None:
    """Everything measured, on standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_A_FILE)
    for name, value in machine.items():
        console.print(f"[bold]{name}[/]: {value}")
    table = Table(*_COLUMNS, show_lines=True)
    for one in _lines(findings):
        is_good = isinstance(one, Measurement) and one.is_reached
        table.add_row(*_row(one, "\n"), style=None if is_good else "yellow")
    console.print(table)
    for grid in _grids(findings):
        beside = Table(*grid.columns, title=f"{grid.part}. {grid.title}", title_justify="left")
        for row in grid.rows:
            beside.add_row(*row)
        console.print(beside)
        if grid.note:
            console.print(grid.note)


def write_markdown(
    directory: Path,
    name: str,
    *,
    machine: Mapping[str, str],
    findings: Sequence[Finding],
    plots: Mapping[str, str],
    seconds: float,
) -> Path:
    """The tables, and the plots below them; the file."""
    parts = [
        f"# Benchmarks of {name}",
        "\n".join(
            [
                *(f"- {key}: {value}" for key, value in machine.items()),
                f"- The run took {seconds / 60:.0f} minutes.",
            ]
        ),
        _markdown(_COLUMNS, [_row(one, "; ") for one in _lines(findings)]),
    ]
    for grid in _grids(findings):
        parts += [f"## {grid.part}. {grid.title}", _markdown(grid.columns, grid.rows)]
        parts += [grid.note] if grid.note else []
    if plots:
        parts += ["## Plots", *(f"![{shown}]({file})" for file, shown in plots.items())]
    parts.append(
        f"Every single figure: [{name}.json]({name}.json). "
        "What the lines mean: [docs/benchmarks.md](../../docs/benchmarks.md)."
    )
    file = directory / f"{name}.md"
    file.write_text("\n\n".join(parts) + "\n")
    return file


def write_figures(directory: Path, name: str, figures: Figures) -> Path:
    """Every single figure as JSON, from which the plots are drawn; the file."""
    directory.mkdir(exist_ok=True)
    file = directory / f"{name}.json"
    # A line for each part: a number on each would be thousands of lines, all in one unreadable.
    parts = [f"{json.dumps(key)}: {json.dumps(_rounded(part))}" for key, part in figures.items()]
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    return file


def _lines(findings: Sequence[Finding]) -> list[Measurement | NotRun]:
    return [one for one in findings if not isinstance(one, Grid)]


def _grids(findings: Sequence[Finding]) -> list[Grid]:
    return [one for one in findings if isinstance(one, Grid)]


def _row(one: Measurement | NotRun, between_details: str) -> tuple[str, ...]:
    if isinstance(one, NotRun):
        return (one.part, one.name, "not run", "", "", one.reason)
    details = between_details.join(one.details)
    return (one.part, one.name, one.value_text, one.target_text, one.reached_text, details)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rounded(value: object) -> object:
    """Floats with four digits after the point: the rest is noise."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
