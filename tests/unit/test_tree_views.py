"""What a client gets of jobs that are made of jobs, and of those that another is made of."""

import json
from dataclasses import replace

from fanfold.app.answers.children import child_json
from fanfold.contract.job_spec import JobSpec, Order, RetrySpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.records import ChunkOutput, Place
from tests.unit.leaves import a_part
from tests.unit.test_views import CHILD, JOB, RETRY, SPEC, job_fields

PARENT = replace(
    JOB,
    spec=JobSpec(stages=(), order=Order.PARALLEL, max_jobs=7),
    place=Place(last_position=3, sub_jobs=3),
    jobs={JobState.RUNNING: 1, JobState.SKIPPED: 2},
)
NO_JOBS = dict.fromkeys(
    (
        "total",
        "pending",
        "running",
        "paused",
        "waiting",
        "cancelling",
        "succeeded",
        "partially_succeeded",
        "failed",
        "cancelled",
        "skipped",
    ),
    0,
)


def test_a_job_made_of_jobs_counts_them_and_says_where_they_are() -> None:
    fields = job_fields(PARENT)
    assert fields["jobs"] == {**NO_JOBS, "total": 3, "running": 1, "skipped": 2}
    assert fields["links"]["jobs"] == "/jobs/job_1/jobs"
    assert [fields[name] for name in ("processor", "options", "stages")] == [None] * 3
    assert (fields["order"], fields["max_jobs"], fields["retry"]) == ("parallel", 7, RETRY)


def test_a_sequence_runs_one_at_a_time() -> None:
    fields = job_fields(replace(PARENT, spec=replace(PARENT.spec, order=Order.SEQUENCE)))
    assert (fields["order"], fields["max_jobs"]) == ("sequence", 1)


def test_a_sub_job_says_of_which_it_is_and_what_it_waits_for() -> None:
    compensate = StageSpec(processor="undo", options={"a": 1}, retry=RetrySpec(max_attempts=9))
    spec = replace(
        SPEC, has_previous_input=True, when="previous.state == 'failed'", compensate=compensate
    )
    place = Place(parent=JobId("job_0"), root=JobId("job_0"), path="EU/FI", position=2)
    fields = job_fields(replace(JOB, spec=spec, place=place))
    assert (fields["parent"], fields["path"]) == ("job_0", "EU/FI")
    assert (fields["input"], fields["when"]) == ("previous", "previous.state == 'failed'")
    assert fields["compensate"] == {
        "processor": "undo",
        "options": {"a": 1},
        "retry": {**RETRY, "max_attempts": 9},
        "timeout_seconds": 300.0,
    }
    assert (fields["jobs"], fields["links"]["jobs"]) == (None, None)


def test_a_job_that_was_compensated_says_where_that_is() -> None:
    fields = job_fields(replace(JOB, jobs={JobState.SUCCEEDED: 1}))
    assert fields["jobs"] == {**NO_JOBS, "total": 1, "succeeded": 1}
    assert fields["links"]["jobs"] == "/jobs/job_1/jobs"
    assert fields["order"] is None


def test_an_earlier_run_of_a_job_made_of_jobs_does_not_say_how_these_stood() -> None:
    fields = job_fields(replace(PARENT, jobs=None))
    assert (fields["jobs"], fields["links"]["jobs"]) == (None, "/jobs/job_1/jobs")


def test_where_a_job_made_of_jobs_was_asked_for_a_child_says_which_of_these_it_is_of() -> None:
    fields = json.loads(child_json(a_part("EU"), CHILD, ChunkOutput(body=b"1")))
    assert list(fields)[:3] == ["job", "path", "index"]
    assert (fields["job"], fields["path"]) == ("job_EU", "EU")
    assert fields["workflow_id"] == "job_EU/c0000007"
