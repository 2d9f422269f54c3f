"""Part g: slow work beside a hand-written loop that does the same waits, and many jobs at once."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import many_jobs
from benchmarks.measurement import Figures, Findings, Measurement, NotRun, listed, reason_of
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.slow_loads import CallsOfAService, Load, Turn, WaitingChunks

TARGET_SHARE_IN_FLIGHT = 0.95


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Each load by both sides in turns, then jobs beside each other."""
    loads: tuple[tuple[Load, float], ...] = (
        (WaitingChunks(chunks=sizes.slow_chunks, seconds=0.125, execution="activity"), 1.1),
        (WaitingChunks(chunks=sizes.slower_chunks, seconds=0.5, execution="workflow"), 1.15),
        (CallsOfAService(items=sizes.called_items), 1.25),
    )
    for load, target in loads:
        try:
            ours, loop = _take_turns(load, sizes.slow_rounds, progress)
        except Exception as error:  # noqa: BLE001 - whatever stops one load, the others go on
            yield NotRun(part="g", name=load.name, reason=reason_of(error))
            continue
        figures[load.name] = {
            "ideal_seconds": load.ideal_seconds,
            "ours": [asdict(turn) for turn in ours],
            "loop": [asdict(turn) for turn in loop],
        }
        yield from _lines(load, target, ours, loop)
    yield from many_jobs.measure(sizes, progress, figures)


def _take_turns(load: Load, rounds: int, progress: Progress) -> tuple[list[Turn], list[Turn]]:
    ours: list[Turn] = []
    loop: list[Turn] = []
    for number in range(1, rounds + 1):
        progress.now(f"{load.name}, round {number} of {rounds}: hand-written loop")
        loop.append(load.by_the_loop())
        progress.now(f"{load.name}, round {number} of {rounds}: Fanfold")
        ours.append(load.by_fanfold(progress))
        progress.note(
            f"{load.name}, round {number} of {rounds}: "
            f"{_seconds('Fanfold', ours[-1:])}; {_seconds('loop', loop[-1:])}"
        )
    return ours, loop


def _lines(load: Load, target: float, ours: list[Turn], loop: list[Turn]) -> Findings:
    ideal = load.ideal_seconds
    beside = "the hand-written loop" if ideal is None else "the ideal"
    yield Measurement(
        part="g",
        name=f"{load.name}: times {beside}",
        value=_median(ours) / (ideal or _median(loop)),
        unit="",
        target=target,
        is_more_better=False,
        details=(
            *((f"ideal {ideal:.1f} s",) if ideal else ()),
            _seconds("Fanfold", ours),
            _seconds("hand-written loop", loop),
        ),
    )
    yield Measurement(
        part="g",
        name="- in flight on the average while more waits",
        value=statistics.median(turn.in_flight.mean for turn in ours),
        unit="",
        target=load.width * TARGET_SHARE_IN_FLIGHT,
        is_more_better=True,
        details=(_means("Fanfold", ours), _means("hand-written loop", loop)),
    )
    yield Measurement(
        part="g",
        name="- most in flight at any moment",
        value=max(turn.in_flight.most for turn in ours),
        unit="at once",
        target=load.width + 1,
        is_more_better=False,
        details=(f"hand-written loop {max(turn.in_flight.most for turn in loop)}",),
    )


def _median(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.seconds for turn in turns)


def _seconds(side: str, turns: Sequence[Turn]) -> str:
    return f"{side} {_median(turns):.1f} s ({listed([turn.seconds for turn in turns], 1)})"


def _means(side: str, turns: Sequence[Turn]) -> str:
    return f"{side} {listed([turn.in_flight.mean for turn in turns], 1)}"
