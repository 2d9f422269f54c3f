"""The table on the terminal, and the same as a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measurement import Measurement

RESULTS = Path(__file__).parent / "results"

_WIDTH_OF_A_FILE = 160
_COLUMNS = ("", "What", "Measured", "Target", "Reached", "Detail")


def print_table(machine: Mapping[str, str], measurements: Sequence[Measurement]) -> None:
    """Everything measured, on standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_A_FILE)
    for name, value in machine.items():
        console.print(f"[bold]{name}[/]: {value}")
    table = Table(*_COLUMNS, show_lines=True)
    for one in measurements:
        table.add_row(*_row(one, "\n"), style=None if one.is_reached else "yellow")
    console.print(table)


def write_file(
    name: str, machine: Mapping[str, str], measurements: Sequence[Measurement], seconds: float
) -> Path:
    """The same as Markdown in benchmarks/results; the file."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(one, "; ") for one in measurements)]
    lines = [
        f"# Benchmarks of {name}",
        "",
        *(f"- {key}: {value}" for key, value in machine.items()),
        f"- The run took {seconds / 60:.0f} minutes.",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        "What the lines mean: [docs/benchmarks.md](../../docs/benchmarks.md).",
    ]
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.md"
    file.write_text("\n".join(lines) + "\n")
    return file


def _row(one: Measurement, between_details: str) -> tuple[str, ...]:
    reached = "yes" if one.is_reached else "no"
    details = between_details.join(one.details)
    return (one.part, one.name, one.value_text, one.target_text, reached, details)
