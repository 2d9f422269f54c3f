"""What every peer does: a trivial task that now and then fails, asked for over pipes."""

import json
import sys
import time
from collections.abc import Callable

FAILS_IF_DIVISIBLE_BY = 10


def double(value: int) -> int:
    """Twice the value; one value in ten fails."""
    if value % FAILS_IF_DIVISIBLE_BY == 0:
        raise ValueError(f"Simulated failure for value {value}")
    return value * 2


def answer_requests(run: Callable[[int], tuple[int, int]]) -> None:
    """For each number of tasks read, run them and print seconds, successes and failures.

    One process for warming up and measuring, so that connecting is not in the time.
    """
    for line in sys.stdin:
        started = time.perf_counter()
        succeeded, failed = run(int(line))
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "succeeded": succeeded, "failed": failed}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
