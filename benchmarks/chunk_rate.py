"""Part a: chunks a second in both modes, beside Lab 5, Celery and DBOS, and on PostgreSQL."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.measurement import (
    Figures,
    Findings,
    Grid,
    Measurement,
    NotAvailable,
    NotRun,
    listed,
    reason_of,
)
from benchmarks.progress import Progress
from benchmarks.sides import SIDES, Turn
from benchmarks.sizes import Lap, Sizes


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides that are compared wherever both have run."""

    ours: str
    theirs: str
    name: str
    """In words, for the table."""
    targets: Mapping[int, float] = field(default_factory=dict)
    """The least ratio that is promised, by number of chunks."""


PAIRS = (
    Pair("workflow", "lab5", "workflow mode, against Lab 5", {500: 1.3, 1_000: 1.8}),
    Pair(
        "workflow", "dbos", "workflow mode, against DBOS", dict.fromkeys((200, 1_000, 10_000), 1.0)
    ),
    Pair("activity", "celery", "activity mode, against Celery", {5_000: 10.0}),
    Pair("workflow_postgresql", "workflow", "workflow mode, PostgreSQL against SQLite"),
    Pair("activity_postgresql", "activity", "activity mode, PostgreSQL against SQLite"),
    Pair(
        "one_worker_postgresql",
        "one_worker",
        "activity mode, one worker process on PostgreSQL against one on SQLite",
        {5_000: 0.5},
    ),
)
TARGET_OF_LARGEST_TO_SMALLEST = 0.8

Turns = dict[tuple[str, int], list[Turn]]


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """All laps, then what they say side by side."""
    race = _Race(sizes.warm_up_chunks, progress)
    for lap in sizes.laps:
        race.run(lap)
    figures["rates"] = {
        side: {
            str(chunks): [turn.chunks_per_second for turn in turns]
            for (one, chunks), turns in race.turns.items()
            if one == side
        }
        for side in SIDES
    }
    figures["names"] = {key: side.name for key, side in SIDES.items()}
    for lap in sizes.laps:
        for pair in PAIRS:
            if {pair.ours, pair.theirs} <= set(lap.sides):
                yield from race.compare(pair, lap.chunks)
    yield from race.compare_largest_to_smallest("workflow")
    for side, reason in race.absent.items():
        yield NotRun(part="a", name=SIDES[side].name, reason=reason)
    for (side, chunks), reason in race.failures.items():
        name = f"{SIDES[side].name}, {chunks:,} {SIDES[side].each}"
        yield NotRun(part="a", name=name, reason=reason)
    yield race.grid([lap.chunks for lap in sizes.laps])


class _Race:
    def __init__(self, warm_up_chunks: int, progress: Progress) -> None:
        self.turns: Turns = {}
        self.absent: dict[str, str] = {}
        """Sides that cannot run here at all, and why."""
        self.failures: dict[tuple[str, int], str] = {}
        """Sides that failed with so many chunks, and why."""
        self._warm_up_chunks = warm_up_chunks
        self._progress = progress

    def run(self, lap: Lap) -> None:
        """Every side's turn, one after the other, so many times over."""
        for number in range(1, lap.rounds + 1):
            said = []
            for side in lap.sides:
                self._progress.now(
                    f"{lap.chunks:,} chunks, round {number} of {lap.rounds}: {SIDES[side].name}"
                )
                turn = self._take_turn(side, lap.chunks)
                if turn is not None:
                    self.turns.setdefault((side, lap.chunks), []).append(turn)
                    said.append(f"{SIDES[side].name} {turn.chunks_per_second:,.1f}/s")
            self._progress.note(
                f"{lap.chunks:,} chunks, round {number} of {lap.rounds}: {'; '.join(said)}"
            )

    def _take_turn(self, side: str, chunks: int) -> Turn | None:
        """None where it fails, which is noted: one side's failure does not stop the others."""
        if side in self.absent or (side, chunks) in self.failures:
            return None
        try:
            return SIDES[side].take_turn(chunks, self._warm_up_chunks, self._progress)
        except NotAvailable as error:
            reason = self.absent[side] = reason_of(error)
        except Exception as error:  # noqa: BLE001 - whatever stops one side, the others go on
            reason = self.failures[side, chunks] = reason_of(error)
        self._progress.note(f"{SIDES[side].name}: {reason}")
        return None

    def compare(self, pair: Pair, chunks: int) -> Findings:
        """The ratio of the medians, where both have run."""
        ours, theirs = self.turns.get((pair.ours, chunks)), self.turns.get((pair.theirs, chunks))
        if not ours or not theirs:
            return
        yield Measurement(
            part="a",
            name=f"{chunks:,} chunks, {pair.name}",
            value=_median(ours) / _median(theirs),
            unit="",
            target=pair.targets.get(chunks),
            is_more_better=True,
            details=(_described(pair.ours, ours), _described(pair.theirs, theirs)),
        )

    def compare_largest_to_smallest(self, side: str) -> Findings:
        """Whether the rate holds in a large job: the rate there over the rate in a small one."""
        measured = sorted(chunks for one, chunks in self.turns if one == side)
        if len(measured) < 2:  # noqa: PLR2004 - a ratio needs two
            return
        smallest, largest = measured[0], measured[-1]
        rates = [_median(self.turns[side, chunks]) for chunks in (largest, smallest)]
        yield Measurement(
            part="a",
            name=f"{largest:,} chunks, {side} mode, against its own rate at {smallest:,}",
            value=rates[0] / rates[1],
            unit="",
            target=TARGET_OF_LARGEST_TO_SMALLEST,
            is_more_better=True,
            details=(f"{rates[0]:,.1f} and {rates[1]:,.1f} chunks/s",),
        )

    def grid(self, sizes: list[int]) -> Grid:
        """Every side's median at every number of chunks."""
        return Grid(
            part="a",
            title="Chunks a second by number of chunks (medians)",
            columns=("", *(f"{chunks:,}" for chunks in sizes)),
            rows=tuple(
                (side.name, *(self._cell(key, chunks) for chunks in sizes))
                for key, side in SIDES.items()
            ),
        )

    def _cell(self, side: str, chunks: int) -> str:
        turns = self.turns.get((side, chunks))
        if turns:
            return f"{_median(turns):,.1f}"
        return "not run" if side in self.absent or (side, chunks) in self.failures else ""


def _described(side: str, turns: list[Turn]) -> str:
    rates = listed([turn.chunks_per_second for turn in turns])
    cpu = ", ".join(
        f"{name} {statistics.median(turn.cpu_ms_a_chunk[name] for turn in turns):.1f} ms"
        for name in turns[0].cpu_ms_a_chunk
    )
    each = SIDES[side].each
    return f"{SIDES[side].name} {_median(turns):,.1f} {each}/s ({rates}); CPU for each: {cpu}"


def _median(turns: list[Turn]) -> float:
    return statistics.median(turn.chunks_per_second for turn in turns)
