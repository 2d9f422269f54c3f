"""How much of a window of concurrency was in use, from when each piece of work began and ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

# At either side of the time in which work waits: filling the window, and its last few pieces.
_LEFT_OUT_AT_EACH_END = 0.1

Span = tuple[float, float]
"""When a piece of work began and when it ended, in seconds of one clock."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What was in flight."""

    mean: float
    """The average while more work waits: the middle four fifths from first start to last start."""
    most: int
    """At any moment; what begins in the millisecond in which another ends is not beside it."""


def occupancy_of(spans: Sequence[Span]) -> Occupancy:
    """Of so many pieces of work, one at least."""
    first, last = min(began for began, _ in spans), max(began for began, _ in spans)
    left_out = (last - first) * _LEFT_OUT_AT_EACH_END
    begin, end = first + left_out, last - left_out
    inside = sum(max(min(ended, end) - max(began, begin), 0.0) for began, ended in spans)
    mean = inside / (end - begin) if end > begin else float(len(spans))
    return Occupancy(mean, _most(spans))


def _most(spans: Sequence[Span]) -> int:
    changes = chain.from_iterable(((began, 1), (ended, -1)) for began, ended in spans)
    most = now = 0
    # At one moment the ends come before the starts.
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
