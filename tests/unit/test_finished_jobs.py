"""The memory of finished jobs: bounded in bytes, the least asked for go first."""

from app.finished import MAX_BYTES, MAX_BYTES_OF_ONE, FinishedJobs, RenderedJob


def rendered(size: int) -> RenderedJob:
    return RenderedJob(body=b"x" * size, etag="", is_finished=True)


def test_those_not_asked_for_the_longest_make_room() -> None:
    finished = FinishedJobs()
    count = MAX_BYTES // MAX_BYTES_OF_ONE
    for number in range(count):
        finished.remember(str(number), rendered(MAX_BYTES_OF_ONE))
    assert finished.get("0") is not None

    finished.remember("one more", rendered(MAX_BYTES_OF_ONE))

    assert finished.get("0") is not None
    assert finished.get("1") is None
    assert finished.get("one more") is not None


def test_a_large_job_is_not_remembered() -> None:
    finished = FinishedJobs()
    finished.remember("large", rendered(MAX_BYTES_OF_ONE + 1))
    assert finished.get("large") is None
