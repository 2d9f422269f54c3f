"""`python -m benchmarks`: measures, prints tables, keeps them as files. Not a test."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from benchmarks import (
    beside_large,
    chunk_rate,
    drawing,
    engine_costs,
    failed_items,
    job_reads,
    large_job,
    latency,
    machine,
    many_sub_jobs,
    report,
    shapes,
    slow_work,
    steering,
    upload,
)
from benchmarks.measurement import Figures, Finding, Findings, NotRun, reason_of
from benchmarks.progress import Progress, showing
from benchmarks.sizes import FULL, QUICK, Sizes

Part = Callable[[Sizes, Progress, Figures], Findings]

PARTS: dict[str, tuple[str, Part]] = {
    "a": ("chunks a second, beside Lab 5, DBOS and Celery, and on PostgreSQL", chunk_rate.measure),
    "b": ("start-up: POST to first chunk, POST to finished, cold start", latency.measure),
    "c": ("polls a second, and their latency while a job runs", job_reads.measure),
    "d": ("upload of many items, and the gateway's memory", upload.measure),
    "e": ("events, server transactions and actions a chunk", engine_costs.measure),
    "f": ("one large job: time, memory, histories, disk", large_job.measure),
    "g": ("slow work, beside a hand-written loop, and many jobs at once", slow_work.measure),
    "h": ("which of many items failed", failed_items.measure),
    "i": ("small jobs beside a large one", beside_large.measure),
    "j": ("steering of a large job: redrive, max_concurrency", steering.measure),
    "k": ("sequential against parallel, as chunks and as sub-jobs", shapes.measure),
    "l": ("a job made of many jobs, and its root polled meanwhile", many_sub_jobs.measure),
}
_INTERRUPTED = 130


def main() -> int:
    """Measure what was asked for; the exit code, which does not depend on the figures."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)
    described = machine.describe()
    figures: Figures = {"machine": described}
    findings: list[Finding] = []
    started = time.monotonic()
    try:
        with showing() as progress:
            for letter in arguments.only:
                sizes = QUICK if arguments.quick else FULL
                _measure(letter, sizes, progress, findings, figures)
            seconds = time.monotonic() - started
            with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as elsewhere:
                directory = Path(elsewhere) if arguments.quick else report.RESULTS
                name = _name(arguments.only)
                raw = report.write_figures(directory, name, figures)
                plots = drawing.draw(raw, progress)
                markdown = report.write_markdown(
                    directory,
                    name,
                    machine=described,
                    findings=findings,
                    plots=plots,
                    seconds=seconds,
                )
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; everything is stopped.\n")
        return _INTERRUPTED
    report.print_tables(described, findings)
    if not arguments.quick:
        sys.stdout.write(f"Kept in benchmarks/results/{markdown.name}, {raw.name} and its plots\n")
    return 0


def _measure(
    letter: str, sizes: Sizes, progress: Progress, findings: list[Finding], figures: Figures
) -> None:
    """One part; where it fails, what it found before is kept, and the others go on."""
    title, measure = PARTS[letter]
    progress.begin(f"{letter}. {title}")
    of_part = figures.setdefault(letter, {})
    try:
        for finding in measure(sizes, progress, of_part):
            findings.append(finding)  # noqa: PERF402 - one by one, so that they are kept
    except Exception as error:  # noqa: BLE001 - whatever stops one part, the others are worth it
        reason = reason_of(error)
    else:
        return
    progress.note(reason)
    of_part["not_run"] = reason
    findings.append(NotRun(part=letter, name=title, reason=reason))


def _arguments() -> argparse.Namespace:
    listed = "; ".join(f"{letter}: {title}" for letter, (title, _) in PARTS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        type=_parts,
        default=list(PARTS),
        metavar="a,b,...",
        help=f"Measure these parts only ({listed}).",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="Small numbers, no file: shows that everything works, the figures mean nothing.",
    )
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    letters = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [letter for letter in letters if letter not in PARTS]
    if unknown or not letters:
        raise argparse.ArgumentTypeError(f"choose from {','.join(PARTS)}")
    return letters


def _name(letters: list[str]) -> str:
    """The date; a run of some parts does not replace a whole one of the same day."""
    date = datetime.now(UTC).date().isoformat()
    return date if letters == list(PARTS) else f"{date}-{''.join(letters)}"


def _stop_once(_number: int, _frame: object) -> NoReturn:
    """End the run; a second Ctrl-C must not break off the stopping of its processes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
