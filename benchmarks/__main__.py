"""`python -m benchmarks`: measures, prints one table, keeps it as a file. Not a test."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NoReturn

from benchmarks import chunk_rate, job_reads, latency, machine, report, start_up
from benchmarks.measurement import Measurement
from benchmarks.progress import Progress, showing
from benchmarks.sizes import FULL, QUICK, Sizes

Part = Callable[[Sizes, Progress], Iterator[Measurement]]

PARTS: dict[str, tuple[str, Part]] = {
    "a": ("chunks a second in the default mode", chunk_rate.measure_default),
    "b": ("chunks a second in a large job", chunk_rate.measure_large),
    "c": ("time to the result of a job of one chunk", latency.measure),
    "d": ("reads a second of a finished job", job_reads.measure),
    "e": ("start-up", start_up.measure),
}
_INTERRUPTED = 130


def main() -> int:
    """Measure what was asked for; the exit code, which does not depend on the figures."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_once)
    described = machine.describe()
    measurements: list[Measurement] = []
    started = time.monotonic()
    try:
        with showing() as progress:
            for letter in arguments.only:
                title, measure = PARTS[letter]
                progress.begin(f"{letter}. {title}")
                measurements.extend(measure(QUICK if arguments.quick else FULL, progress))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; everything is stopped.\n")
        return _INTERRUPTED
    report.print_table(described, measurements)
    if not arguments.quick:
        seconds = time.monotonic() - started
        file = report.write_file(_name(arguments.only), described, measurements, seconds)
        sys.stdout.write(f"Kept in benchmarks/results/{file.name}\n")
    return 0


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
