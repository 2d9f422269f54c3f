"""Part d: MB a second of an upload, and the gateway's memory, beside a plain insert into SQLite."""

import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.items_file import compress, write_items
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed
from benchmarks.memory import watched
from benchmarks.processes import output_of
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.uploading import post_file
from fanfold.devstack.running import running

GATEWAY_TARGET_MIB = 250.0

_MB = 1_000_000
_JOB = {"processor": "transform", "chunk_size": 100}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side did once with the file; MB are those of the file as it is unpacked."""

    mb_per_second: float
    peak_mib: float


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """The file as it is and with gzip, each sent and inserted alternately."""
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
        plain = Path(directory) / "items.ndjson"
        progress.now(f"writing a file of {sizes.upload_items:,} items")
        write_items(plain, sizes.upload_items)
        for name, file in (("plain", plain), ("gzip", compress(plain))):
            ours: list[Turn] = []
            theirs: list[Turn] = []
            megabytes = plain.stat().st_size / _MB
            for number in range(1, sizes.upload_pairs + 1):
                progress.now(f"{name}, pair {number} of {sizes.upload_pairs}: ours")
                ours.append(_send(file, sizes.upload_items, megabytes))
                progress.now(f"{name}, pair {number} of {sizes.upload_pairs}: plain insert")
                theirs.append(_insert(file, sizes.upload_items, megabytes))
                progress.note(
                    f"{name}, pair {number} of {sizes.upload_pairs}: {_line(ours[-1:])}; "
                    f"plain insert {_line(theirs[-1:])}"
                )
            figures[name] = {
                "ours": [asdict(turn) for turn in ours],
                "plain_insert": [asdict(turn) for turn in theirs],
            }
            yield from _lines(name, megabytes, ours, theirs, sizes)


def _send(file: Path, items: int, megabytes: float) -> Turn:
    """One upload to a stack of its own, from the first byte to the 202."""
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
        stack_directory = Path(directory)
        with running(stack_directory) as stack:
            with watched({"gateway": stack.pid("gateway")}) as memory:
                started = time.perf_counter()
                job = post_file(stack.url, _JOB, file)
                seconds = time.perf_counter() - started
            if job["items"]["total"] != items:
                raise Unexpected(f"job {job['id']} has {job['items']['total']} of {items} items")
    return Turn(megabytes / seconds, memory.peaks_mib["gateway"])


def _insert(file: Path, items: int, megabytes: float) -> Turn:
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
        database = Path(directory) / "items.db"
        command = [sys.executable, "-m", "benchmarks.plain_insert", str(file), str(database)]
        answer = json.loads(output_of(command))
    if answer["rows"] != items:
        raise Unexpected(f"{answer['rows']} of {items} items were inserted")
    return Turn(megabytes / answer["seconds"], answer["peak_mib"])


def _lines(
    name: str, megabytes: float, ours: list[Turn], theirs: list[Turn], sizes: Sizes
) -> Findings:
    what = f"{sizes.upload_items:,} items, {megabytes:,.0f} MB of NDJSON, {name}"
    yield Measurement(
        part="d",
        name=f"upload of {what}, against a plain insert into SQLite",
        value=_rate(ours) / _rate(theirs),
        unit="",
        target=None,
        is_more_better=True,
        details=(
            f"ours {_line(ours)} ({listed([turn.mb_per_second for turn in ours], 1)})",
            f"plain insert {_line(theirs)} ({listed([turn.mb_per_second for turn in theirs], 1)})",
        ),
    )
    yield Measurement(
        part="d",
        name=f"most memory of the gateway during an upload of {what}",
        value=max(turn.peak_mib for turn in ours),
        unit="MiB",
        target=GATEWAY_TARGET_MIB,
        is_more_better=False,
        details=(
            f"{listed([turn.peak_mib for turn in ours])} MiB",
            f"plain insert {listed([turn.peak_mib for turn in theirs])} MiB",
        ),
    )


def _line(turns: list[Turn]) -> str:
    peak = statistics.median(turn.peak_mib for turn in turns)
    return f"{_rate(turns):.1f} MB/s with {peak:,.0f} MiB"


def _rate(turns: list[Turn]) -> float:
    return statistics.median(turn.mb_per_second for turn in turns)
