"""Jobs go on while processes of one release make way for those of the other."""

from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.journeys import finish, get, run, submit
from tests.upgrade.held_jobs import (
    EXECUTIONS,
    OLD_TASK_QUEUE,
    attempts,
    finish_doubled,
    hold,
    hold_retried,
)
from tests.upgrade.releases import Release
from tests.upgrade.side_by_side import SideBySide
from tests.waiting import eventually

JOB = {"chunks": [[1, 2], [3]], "processor": "double", "reducer": "sum"}
NOWHERE = "127.0.0.1:1"
# Gateways take turns in comparing a job with its workflow; that of an old one does not help.
SELDOM = {"FANFOLD_RECONCILE_INTERVAL_SECONDS": "2"}


def has_moved(both: SideBySide, job_id: str) -> bool:
    """Whether the job goes on in this release."""
    return both.task_queue(job_id) not in {OLD_TASK_QUEUE, None}


def is_with_the_old(both: SideBySide, job_id: str) -> bool:
    return both.task_queue(job_id) == OLD_TASK_QUEUE


def has_ended(both: SideBySide, job_id: str) -> bool:
    """Whether no workflow of the job is left behind."""
    return not both.open_workflows(job_id)


def checked_at(both: SideBySide, job_id: str) -> int:
    """When a gateway last compared the job with its workflow."""
    ((milliseconds,),) = both.rows("SELECT checked_at FROM jobs WHERE id = ?", job_id)
    return int(milliseconds)


def was_checked(both: SideBySide, job_id: str, *, since: int) -> bool:
    return checked_at(both, job_id) > since


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_jobs_in_their_middle_finish_after_all_processes_were_replaced(
    both: SideBySide, old: Release, new: Release, gate: Path, is_killed: bool
) -> None:
    gateway, worker = both.gateway(old), both.worker(old)
    jobs = [
        hold(gateway.api, gate / one, chunks=6, held=(1, 4), execution=one) for one in EXECUTIONS
    ]
    retried = [
        hold_retried(gateway.api, gate / f"retried-{one}", gate / f"calls-{one}", execution=one)
        for one in EXECUTIONS
    ]

    if is_killed:
        worker.kill()
    worker.stop()
    gateway.stop()
    gateway = both.gateway(new)
    both.worker(new)

    for job in jobs:
        finish_doubled(gateway.api, job)
        # What the change-over broke off is nobody's failure.
        assert attempts(gateway.api, job) == {1}
    for job in retried:
        finish_doubled(gateway.api, job, times=4)
        assert attempts(gateway.api, job) == {1, 2}
    for job in jobs + retried:
        eventually(partial(has_ended, both, job.id), what="no workflow is left behind")


def test_large_jobs_in_their_middle_finish_after_all_processes_were_replaced(
    both: SideBySide, old: Release, new: Release, gate: Path
) -> None:
    gateway, worker = both.gateway(old), both.worker(old)
    jobs = [
        # Of more than one shard; the gate holds chunks of each.
        hold(
            gateway.api,
            gate / execution,
            chunks=chunks,
            held=(7, chunks - 1),
            execution=execution,
            max_concurrency=20,
        )
        for execution, chunks in (("workflow", 520), ("activity", 2_040))
    ]

    worker.stop()
    gateway.stop()
    gateway = both.gateway(new)
    both.worker(new)

    for job in jobs:
        finish_doubled(gateway.api, job)
        assert attempts(gateway.api, job) == {1}


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_job_goes_on_in_new_workers_while_old_ones_still_run_its_chunks(
    both: SideBySide, old: Release, new: Release, gate: Path, execution: str
) -> None:
    gateway = both.gateway(old, **SELDOM)
    both.worker(old)
    job = hold(
        gateway.api,
        gate / "job",
        chunks=150,
        # Those that its first blocks begin with: the old worker goes on with what comes after.
        held=[25 * block + lane for block in range(5) for lane in range(4)],
        execution=execution,
        max_concurrency=20,
    )

    both.worker(new)
    after = both.gateway(new)
    eventually(partial(has_moved, both, job.id), what="the job is taken over")

    # What old workers end now, and what they drop, is run by the new ones or not at all.
    finish_doubled(after.api, job)
    assert attempts(gateway.api, job) == {1}


def test_a_new_gateway_waits_for_new_workers_and_leaves_jobs_to_the_old_ones(
    both: SideBySide, old: Release, new: Release, gate: Path
) -> None:
    before = both.gateway(old)
    both.worker(old)
    held = [
        hold(before.api, gate / one, chunks=4, held=(0, 1), execution=one) for one in EXECUTIONS
    ]
    before.stop()

    gateway = both.gateway(new)
    posted = [submit(gateway.api, **JOB, execution=one)["id"] for one in EXECUTIONS]
    for job in held:
        eventually(
            partial(was_checked, both, job.id, since=checked_at(both, job.id)),
            what="the new gateway has looked at the old job",
        )
        assert is_with_the_old(both, job.id)
        finish_doubled(gateway.api, job)
        assert attempts(gateway.api, job) == {1}
        assert is_with_the_old(both, job.id)
    for job_id in posted:
        eventually(partial(has_moved, both, job_id), what="the new job is started")
        assert get(gateway.api, job_id)["state"] == "pending"

    both.worker(new)
    for job_id in posted:
        assert finish(gateway.api, job_id)["result"] == 12


def has_succeeded(api: httpx.Client, job_id: str) -> bool:
    return bool(get(api, job_id)["state"] == "succeeded")


def test_new_workers_wait_for_a_new_gateway_and_leave_jobs_to_the_old_ones(
    both: SideBySide, old: Release, new: Release, gate: Path
) -> None:
    before = both.gateway(old)
    both.worker(old)
    both.worker(new)
    held = [
        hold(before.api, gate / one, chunks=4, held=(0, 1), execution=one) for one in EXECUTIONS
    ]
    for execution in EXECUTIONS:
        beside = submit(before.api, **JOB, execution=execution)["id"]
        eventually(partial(has_succeeded, before.api, beside), what="the old worker has run it")
        assert get(before.api, beside)["result"] == 12
        assert is_with_the_old(both, beside)
    before.stop()

    gateway = both.gateway(new)
    for execution in EXECUTIONS:
        assert run(gateway.api, **JOB, execution=execution)["result"] == 12
    for job in held:
        finish_doubled(gateway.api, job)


def test_what_an_old_gateway_starts_is_run_when_no_old_worker_is_left(
    both: SideBySide, old: Release, new: Release
) -> None:
    both.worker(new)
    before = both.gateway(old, **SELDOM)
    # It records jobs, but cannot start them: so the old one does.
    recording = both.gateway(new, TEMPORAL_ADDRESS=NOWHERE)
    jobs = [
        submit(gateway.api, **JOB, execution=execution)["id"]
        for gateway in (before, recording)
        for execution in EXECUTIONS
    ]
    for job_id in jobs:
        eventually(partial(is_with_the_old, both, job_id), what="the old gateway has started it")
    recording.stop()

    gateway = both.gateway(new)

    for job_id in jobs:
        finished = finish(gateway.api, job_id)
        assert (finished["state"], finished["result"]) == ("succeeded", 12)


def test_an_old_job_can_be_cancelled_when_no_old_worker_is_left(
    both: SideBySide, old: Release, new: Release, gate: Path
) -> None:
    before, worker = both.gateway(old), both.worker(old)
    jobs = [
        hold(before.api, gate / one, chunks=4, held=(0, 1), execution=one, max_concurrency=4)
        for one in EXECUTIONS
    ]
    worker.kill()
    for job in jobs:
        assert before.api.delete(f"/jobs/{job.id}").json()["state"] == "cancelling"
    before.stop()

    gateway = both.gateway(new)
    both.worker(new)

    for job in jobs:
        finished = finish(gateway.api, job.id)
        assert finished["state"] == "cancelled"
        eventually(partial(has_ended, both, job.id), what="no workflow is left behind")
