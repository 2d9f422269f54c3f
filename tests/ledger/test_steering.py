"""What clients ask of a job that runs: heard where it makes sense, once however often written."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from fanfold.contract.job_spec import Controls
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.records import Attempt, NoAttempt
from fanfold.ledger.transitions import GO_ON, PAUSE, RESUME
from tests.ledger.jobs_recorded import (
    BROKEN,
    NOTHING,
    a_spec,
    begun,
    claimed_starts,
    closed,
    found,
    labelled,
    new_token,
    ours,
    record,
    running,
)
from tests.ledger.raw_sql import rows
from tests.ledger.steered import (
    DONE,
    RUN,
    chunk_states,
    in_state,
    state_of,
    to_check,
    twice,
)

Control = Callable[[TenantLedger, JobId], Awaitable[bool]]
CONTROLS: dict[str, tuple[Control, Sequence[JobState], JobState]] = {
    "pause": (lambda of, job_id: of.steering.pause(job_id), PAUSE.before, JobState.PAUSED),
    "resume": (lambda of, job_id: of.steering.resume(job_id), RESUME.before, JobState.RUNNING),
    "release": (lambda of, job_id: of.steering.release(job_id), GO_ON.before, JobState.RUNNING),
}


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("state", JobState)
async def test_a_control_is_heard_in_its_states_only_and_the_second_time_by_nobody(
    ledger: Ledger, name: str, state: JobState
) -> None:
    control, before, after = CONTROLS[name]
    job_id = await in_state(ledger, state)
    assert await state_of(ledger, job_id) is state

    assert await control(ours(ledger), job_id) == (state in before)
    assert await state_of(ledger, job_id) is (after if state in before else state)

    assert not await control(ours(ledger), job_id)
    assert await state_of(ledger, job_id) is (after if state in before else state)


# --- pause and resume -------------------------------------------------------------------------


async def test_no_attempt_begins_in_a_paused_job_whoever_asks(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1], spec=a_spec(stages=2))
    advancing = await begun(ledger, job_id, 0)
    await ours(ledger).work.record(outcomes.advanced(advancing, DONE))
    await ours(ledger).steering.pause(job_id)

    work = ours(ledger).work
    assert await work.claim(job_id, RUN, job_run=1, token=new_token()) is None
    for index, stage in ((0, 1), (1, 0)):
        refused = await work.begin(job_id, index, stage, job_run=1, token=new_token(), is_due=True)
        assert isinstance(refused, NoAttempt)
        assert refused.job_state is JobState.PAUSED
    outlook = await work.outlook(job_id, RUN, limit=9)
    assert (outlook.job_state, outlook.ready) == (JobState.PAUSED, 0)

    await ours(ledger).steering.resume(job_id)
    assert (await begun(ledger, job_id, 0, 1)).number == 1
    assert await work.claim(job_id, RUN, job_run=1, token=new_token()) is not None


async def test_the_outcomes_of_what_was_in_flight_count_while_the_job_is_paused(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1] * 4)
    attempts = [await begun(ledger, job_id, index) for index in range(4)]
    await ours(ledger).steering.pause(job_id)

    for script in (
        outcomes.succeeded(attempts[0], DONE),
        outcomes.failed(attempts[1], BROKEN, NOTHING),
        outcomes.put_off(attempts[2], BROKEN, NOTHING, seconds=0),
        outcomes.handed_back(attempts[3]),
    ):
        await ours(ledger).work.record(script)

    states = ["succeeded", "failed", "pending", "pending"]
    assert await chunk_states(ledger, job_id) == states
    counts = (await found(ledger, job_id)).counts
    assert (counts.items_succeeded, counts.items_failed) == (1, 1)
    assert not await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)


async def test_a_begin_that_was_made_before_the_pause_is_given_again_after_it(
    ledger: Ledger,
) -> None:
    job_id, token = await running(ledger), new_token()
    first = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token)
    await ours(ledger).steering.pause(job_id)
    again = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token)
    assert isinstance(first, Attempt)
    assert isinstance(again, Attempt)
    assert (again.fence, again.number) == (first.fence, first.number)


async def test_a_job_that_never_began_is_pending_again_and_is_started_then(ledger: Ledger) -> None:
    job_id = await record(ledger)
    await ours(ledger).steering.pause(job_id)
    assert await claimed_starts(ledger) == []
    assert await ours(ledger).jobs.open(job_id) == (False, JobState.PAUSED)
    await ours(ledger).steering.resume(job_id)
    assert await state_of(ledger, job_id) is JobState.PENDING
    assert await claimed_starts(ledger) == [job_id]


async def test_a_job_that_rests_holds_no_place(ledger: Ledger) -> None:
    await in_state(ledger, JobState.PAUSED)
    await in_state(ledger, JobState.WAITING)
    await in_state(ledger, JobState.RUNNING)
    ((under_way, _),) = await ledger.database.read(
        "SELECT COUNT(*), 0 FROM jobs WHERE workflow_started_at IS NOT NULL "
        "AND finished_at IS NULL AND state NOT IN ('paused', 'waiting')"
    )
    assert under_way == 1


async def test_its_workflow_is_told_until_it_knows_of_every_change(ledger: Ledger) -> None:
    job_id = await in_state(ledger, JobState.PAUSED)
    await ours(ledger).steering.resume(job_id)
    job = await to_check(ledger, job_id)
    assert not job.is_told
    await ledger.starting.mark_told(job)

    await ours(ledger).steering.pause(job_id)
    await ours(ledger).steering.resume(job_id)
    # What it was told of is the change before this one.
    later = await to_check(ledger, job_id)
    assert (later.is_told, later.changes > job.changes) == (False, True)
    await ledger.starting.mark_told(later)
    await ledger.starting.mark_told(job)
    (again,) = await ledger.starting.to_check(unchecked_since=1 << 60, limit=9)
    assert again.is_told


async def test_a_change_while_a_gateway_looks_at_the_job_has_it_looked_at_again(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await ours(ledger).jobs.request_cancel(job_id, is_draining=True)
    looked_at = await ledger.starting.to_check(unchecked_since=1, limit=9)
    assert [job.is_draining for job in looked_at] == [True]

    assert not await ours(ledger).jobs.request_cancel(job_id)

    await ledger.starting.mark_checked(looked_at)
    assert not (await to_check(ledger, job_id)).is_draining


# --- draining ---------------------------------------------------------------------------------


async def test_what_is_in_flight_goes_through_its_stages_while_the_job_drains(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1, 1], spec=a_spec(stages=2))
    attempt = await begun(ledger, job_id)
    assert await ours(ledger).jobs.request_cancel(job_id, is_draining=True)
    await ours(ledger).work.record(outcomes.advanced(attempt, DONE))

    assert await ours(ledger).work.claim(job_id, RUN, job_run=1, token=new_token()) is None
    refused = await ours(ledger).work.begin(job_id, 1, 0, job_run=1, token=new_token())
    assert isinstance(refused, NoAttempt)
    last = await begun(ledger, job_id, 0, 1)
    await ours(ledger).work.record(outcomes.succeeded(last, DONE))

    await closed(ledger, job_id, JobState.CANCELLED)
    assert await chunk_states(ledger, job_id) == ["succeeded", "cancelled"]


async def test_a_drain_that_is_asked_for_after_a_cancel_does_not_take_it_back(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    attempt = await begun(ledger, job_id)
    assert await ours(ledger).jobs.request_cancel(job_id)
    assert not await ours(ledger).jobs.request_cancel(job_id, is_draining=True)
    await ours(ledger).work.record(outcomes.advanced(attempt, DONE))
    assert isinstance(
        await ours(ledger).work.begin(job_id, 0, 1, job_run=1, token=new_token()), NoAttempt
    )


# --- changes ----------------------------------------------------------------------------------


async def changed(
    ledger: Ledger, job_id: JobId, controls: Controls, *, keep_ms: int | None = None, by: int = 0
) -> bool:
    """Change the job as it is now, or as it was `by` revisions before."""
    job = await found(ledger, job_id)
    return await ours(ledger).steering.change(
        job_id, job.revision - by, job.spec, controls, keep_ms
    )


async def test_a_change_replaces_the_controls_and_labels_and_is_told(ledger: Ledger) -> None:
    before = labelled({"team": "a", "old": "x"})
    job_id = await running(ledger, controls=before)
    other = await running(ledger, controls=before)
    controls = replace(before, name="new", labels={"team": "b", "new": "y"}, max_concurrency=3)

    assert await changed(ledger, job_id, controls)

    job = await found(ledger, job_id)
    assert (job.controls, job.spec) == (controls, a_spec())
    assert await listed(ledger, {"team": "b", "new": "y"}) == [job_id]
    assert await listed(ledger, {"team": "a", "old": "x"}) == [other]
    assert not (await to_check(ledger, job_id)).is_told


async def listed(ledger: Ledger, labels: dict[str, str]) -> list[JobId]:
    page = await ours(ledger).jobs.page(state=None, labels=labels, before=None, limit=9)
    return [job.id for job in page]


async def test_a_change_of_a_job_that_somebody_else_has_changed_does_nothing(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, controls=labelled({"a": "b"}))
    wanted = Controls(name="mine", labels={"c": "d"}, max_per_second=5)
    assert not await changed(ledger, job_id, wanted, by=1)
    assert (await found(ledger, job_id)).controls == labelled({"a": "b"})
    assert await listed(ledger, {"a": "b"}) == [job_id]
    assert await ours(ledger).pacing.take_turns(job_id, 1) is None


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PAUSED, JobState.PENDING])
async def test_what_nobody_knew_to_be_written_is_known_the_second_time(
    ledger: Ledger, state: JobState
) -> None:
    job_id = await in_state(ledger, state)
    job = await found(ledger, job_id)
    controls = Controls(name="n", labels={"a": "b"}, max_per_second=5)
    assert await twice(ledger).change(job_id, job.revision, job.spec, controls, None)
    assert (await found(ledger, job_id)).revision == job.revision + 1
    assert await listed(ledger, {"a": "b"}) == [job_id]


async def test_the_pace_is_made_kept_changed_and_removed_with_the_controls(
    ledger: Ledger, ledger_url: str
) -> None:
    def paces() -> list[float]:
        return [float(one) for (one,) in rows(ledger_url, "SELECT per_second FROM job_paces")]

    job_id = await running(ledger)
    assert paces() == []
    for per_second in (5.0, 5.0, 0.5, None, 7.0):
        assert await changed(ledger, job_id, Controls(max_per_second=per_second))
        assert paces() == ([] if per_second is None else [per_second])


async def test_how_long_a_job_is_kept_may_be_changed_after_its_end(
    ledger: Ledger, ledger_url: str
) -> None:
    def expires() -> int | None:
        ((at, finished),) = rows(ledger_url, "SELECT expires_at, finished_at FROM jobs")
        return None if at is None else int(at) - int(finished)

    job_id = await in_state(ledger, JobState.SUCCEEDED)
    assert expires() is None
    assert await changed(ledger, job_id, Controls(), keep_ms=7000)
    assert expires() == 7000
    assert await changed(ledger, job_id, Controls())
    assert expires() is None

    unfinished = await running(ledger)
    await ours(ledger).jobs.purge(job_id)
    assert await changed(ledger, unfinished, Controls(), keep_ms=9000)
    await closed(ledger, unfinished)
    assert expires() == 9000
