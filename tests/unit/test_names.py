"""Ids: unique, in the order of their making, and a child's begins with its job's."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.names import chunk_workflow_id, new_job_id


def test_ids_are_unique_and_of_the_documented_form() -> None:
    made = [new_job_id() for _ in range(5000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"job_[0-7][0-9a-hjkmnp-tv-z]{25}", job_id) for job_id in made)


def test_an_id_made_in_a_later_millisecond_sorts_after() -> None:
    earlier = new_job_id()
    moment = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == moment:
        pass
    assert earlier < new_job_id()


def test_the_time_of_making_can_be_read_from_an_id() -> None:
    before = time.time_ns() // 1_000_000
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    made = 0
    for letter in new_job_id().removeprefix("job_")[:10]:
        made = made * 32 + letters.index(letter)
    assert before <= made <= time.time_ns() // 1_000_000


@given(st.integers(0, 9_999_999), st.integers(0, 9_999_999))
def test_children_sort_by_index_and_carry_their_jobs_id(first: int, second: int) -> None:
    one, other = chunk_workflow_id("job_a", first), chunk_workflow_id("job_a", second)
    assert (one < other) == (first < second)
    assert re.fullmatch(r"job_a/c\d{7}", one)
    assert chunk_workflow_id("job_b", first) != one
