"""The demo: real data through the whole system, on a stack that leaves nothing behind."""

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import airportsdata

from fanfold import Fanfold, Job, JobState
from fanfold.cli import output, tables
from fanfold.cli.exits import Exit
from fanfold.devstack.running import running

CHUNK_SIZE = 500

# A country in ISO 3166 has two letters; an airport has a name and a place on Earth.
RULES: list[dict[str, Any]] = [
    {"field": "icao", "required": True, "pattern": "[A-Z0-9]{2,4}"},
    {"field": "iata", "pattern": "([A-Z0-9]{3})?"},
    {"field": "name", "required": True, "type": "string"},
    {"field": "country", "required": True, "min_length": 2, "max_length": 2},
    {"field": "lat", "required": True, "type": "number", "minimum": -90, "maximum": 90},
    {"field": "lon", "required": True, "type": "number", "minimum": -180, "maximum": 180},
    {"field": "elevation", "required": True, "minimum": -1500, "maximum": 20000},
    {"field": "tz", "required": True, "type": "string"},
]

LAB_5: dict[str, Any] = {
    "name": "lab 5: even numbers fail",
    "chunks": [[1], [2], [3], [4], [5]],
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
    "reducer": "collect",
}


def airports() -> list[dict[str, Any]]:
    """Every airport of the package airportsdata, some 28,000."""
    return [dict(airport) for airport in airportsdata.load("ICAO").values()]


def airports_job(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Validate each record, drop the invalid, count by country, fold."""
    return {
        "name": "airports by country",
        "items": items,
        "chunk_size": CHUNK_SIZE,
        "stages": [
            {"processor": "validate", "options": {"rules": RULES, "on_invalid": "drop"}},
            {"processor": "count_by", "options": {"field": "country"}},
        ],
        "reducer": "merge_counts",
        "labels": {"demo": "airports"},
    }


def run_demo() -> int:
    """Run both jobs, show what came of them; the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fanfold-demo-") as directory:
        output.out.print("Starting Temporal, the workers and the gateway ...")
        with running(Path(directory)) as stack, Fanfold(stack.url) as fanfold:
            output.out.print(
                f"Ready at {stack.url}/docs, Temporal's web UI at port {stack.ui_port}.\n"
            )
            items = airports()
            output.out.print(
                f"[bold]1. Real data:[/] {len(items)} airports, validated, counted by country, "
                f"in chunks of {CHUNK_SIZE}."
            )
            counted = output.watch(fanfold, fanfold.submit(airports_job(items)), stack.url)
            tables.print_job(counted, stack.url)
            _print_countries(counted)
            output.out.print("\n[bold]2. Partial failure:[/] five chunks, the even ones fail.")
            lab = output.watch(fanfold, fanfold.submit(LAB_5), stack.url)
            tables.print_job(lab, stack.url)
            tables.print_children(fanfold.children(lab.id))
    output.out.print(
        f"\nDone in {time.monotonic() - started:.0f} s; everything is stopped again. "
        "`make up` starts a stack that stays."
    )
    is_well = (counted.state, lab.state) == (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED)
    return Exit.OK if is_well else Exit.FAILED


def _print_countries(job: Job) -> None:
    """The folded counts as a bar chart."""
    most = Counter(job.result).most_common(10)
    if not most:
        return
    longest = most[0][1]
    output.out.print(f"  {sum(job.result.values())} airports in {len(job.result)} countries:")
    for country, count in most:
        bar = "█" * max(1, round(40 * count / longest))
        output.out.print(f"    {country} {count:6} [cyan]{bar}[/]")
