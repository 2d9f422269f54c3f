"""The ETag of a job: another one whenever there is something new to see."""

from dataclasses import replace

from fanfold.answers import rendering
from fanfold.contract.states import JobState
from fanfold.ledger.records import ErrorGroup
from tests.unit.test_views import JOB

CHANGES = [
    replace(JOB, revision=2),
    replace(JOB, counts=replace(JOB.counts, pending=2, running=2)),
    replace(JOB, counts=replace(JOB.counts, running=0, succeeded=4)),
    replace(JOB, counts=replace(JOB.counts, running=0, failed=2)),
    replace(JOB, counts=replace(JOB.counts, running=0, partially_succeeded=1)),
    replace(JOB, counts=replace(JOB.counts, running=0, cancelled=1)),
    replace(JOB, counts=replace(JOB.counts, running=0, held=1)),
    replace(JOB, counts=replace(JOB.counts, items_failed=101, items_succeeded=299)),
    replace(JOB, errors=(*JOB.errors, ErrorGroup("T", "m", 1, 0))),
    replace(JOB, jobs={JobState.RUNNING: 1}),
    replace(JOB, jobs={JobState.RUNNING: 2}),
    replace(JOB, jobs={JobState.SUCCEEDED: 1}),
]


def test_the_etag_changes_whenever_the_job_does() -> None:
    tags = [rendering.etag(job) for job in (JOB, *CHANGES)]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('W/"') and tag.endswith('"') for tag in tags)


def test_the_etag_stays_while_nothing_changes() -> None:
    assert rendering.etag(replace(JOB)) == rendering.etag(JOB)
