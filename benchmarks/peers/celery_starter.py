"""Celery's client, as a process: sends tasks, then collects every result."""

from benchmarks.peers.celery_tasks import double_task
from benchmarks.peers.work import answer_requests


def run(tasks: int) -> tuple[int, int]:
    """How many of so many tasks succeeded and failed.

    One `apply_async` after the other: a `group` of the same tasks was slower.
    """
    sent = [double_task.apply_async((value,)) for value in range(1, tasks + 1)]
    outcomes = [result.get(propagate=False) for result in sent]
    failed = sum(isinstance(outcome, Exception) for outcome in outcomes)
    return len(outcomes) - failed, failed


if __name__ == "__main__":
    answer_requests(run)
