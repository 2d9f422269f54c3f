"""Cancelling: before the start, in mid-run, twice, and racing with the end."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, children, finish, get, results, submit
from tests.waiting import eventually


def open_workflows(stack: RunningStack, job_id: str) -> list[str]:
    """Ids of the job's workflows that Temporal still runs, asked one by one."""

    async def ask() -> list[str]:
        client = await Client.connect(stack.temporal_address)
        found: list[str] = []
        async for one in client.list_workflows(f"RootWorkflowId = '{job_id}'"):
            description = await client.get_workflow_handle(one.id).describe()
            if description.close_time is None:
                found.append(one.id)
        return found

    return asyncio.run(ask())


def test_cancel_in_mid_run_stops_all_and_keeps_what_has_finished(
    api: httpx.Client, stack: RunningStack, gate: Path, execution: str
) -> None:
    job_id = submit(
        api,
        execution=execution,
        chunks=[[value] for value in range(20)],
        processor="gated",
        options={"directory": str(gate)},
        max_concurrency=4,
    )["id"]
    eventually(lambda: len(begun(gate)) == 4, what="the window is full")
    for index in range(4):
        (gate / f"open-{index}").touch()
    eventually(
        lambda: len(begun(gate)) == 8 and get(api, job_id)["chunks"]["succeeded"] == 4,
        what="four chunks are done, and the window is full again",
    )
    before = begun(gate)

    response = api.delete(f"/jobs/{job_id}")

    assert (response.status_code, response.json()["state"]) == (202, "cancelling")
    assert response.headers["retry-after"]
    job = finish(api, job_id)
    assert job["state"] == "cancelled"
    assert begun(gate) == before, "a chunk started after the cancellation"
    assert job["chunks"]["succeeded"] >= 4
    assert job["chunks"]["cancelled"] == 20 - job["chunks"]["succeeded"]
    kept = results(api, job_id, state="succeeded")
    assert [line["result"] for line in kept] == [[2 * line["index"]] for line in kept]
    eventually(lambda: not open_workflows(stack, job_id), what="no child is left in Temporal")


def test_a_second_cancel_says_the_same_and_a_third_that_it_is_done(
    api: httpx.Client, gate: Path
) -> None:
    job_id = submit(api, chunks=[[1]], processor="gated", options={"directory": str(gate)})["id"]
    eventually(lambda: begun(gate), what="the chunk is running")

    first, second = api.delete(f"/jobs/{job_id}"), api.delete(f"/jobs/{job_id}")
    assert finish(api, job_id)["state"] == "cancelled"
    third = api.delete(f"/jobs/{job_id}")

    assert [first.status_code, second.status_code, third.status_code] == [202, 202, 200]
    assert third.json()["state"] == "cancelled"
    assert "retry-after" not in third.headers


def test_a_finished_job_cannot_be_cancelled(api: httpx.Client) -> None:
    job_id = submit(api, chunks=[[1]], processor="double")["id"]
    finish(api, job_id)

    response = api.delete(f"/jobs/{job_id}")

    assert response.status_code == 409
    assert response.json()["code"] == "job_already_finished"
    assert get(api, job_id)["state"] == "succeeded"


def test_cancel_right_after_the_post_never_leaves_a_job_half_way(
    api: httpx.Client, execution: str
) -> None:
    """Whether the workflow was started already, is being started, or was never."""
    for _ in range(10):
        job_id = submit(api, chunks=[[1], [2]], processor="double", execution=execution)["id"]
        response = api.delete(f"/jobs/{job_id}")
        ended = finish(api, job_id)["state"]
        if response.status_code == 202:
            assert ended == "cancelled"
        else:
            assert (response.status_code, ended) == (409, "succeeded")


@pytest.mark.parametrize("finished_before", [0, 1, 2, 3])
def test_cancel_racing_with_the_end_gives_one_of_the_two_answers(
    api: httpx.Client, finished_before: int, execution: str
) -> None:
    job_id = submit(
        api,
        execution=execution,
        chunks=[[1]] * 3,
        processor="double",
        options={"delay_seconds": [0.03, 0.03]},
        max_concurrency=1,
        reducer="sum",
    )["id"]
    eventually(
        lambda: get(api, job_id)["chunks"]["succeeded"] >= finished_before, what="so far it is"
    )

    response = api.delete(f"/jobs/{job_id}")

    ended = finish(api, job_id)
    if response.status_code == 202:
        assert (ended["state"], ended["result"]) == ("cancelled", None)
    else:
        assert response.json()["code"] == "job_already_finished"
        assert (ended["state"], ended["result"]) == ("succeeded", 6)


def test_cancel_of_a_job_that_no_worker_has_seen(
    new_stack: Callable[..., RunningStack],
) -> None:
    stack = new_stack(FANFOLD_WORKERS="1")
    # A stopped worker polls no more, as one that is away; it is let go on at the end.
    worker = stack.pid("worker-0")
    os.kill(worker, signal.SIGSTOP)
    try:
        with httpx.Client(base_url=stack.url, timeout=60) as api:
            job_id = submit(api, chunks=[[1], [2]], processor="double")["id"]
            assert api.delete(f"/jobs/{job_id}").json()["state"] == "cancelling"
            assert api.delete(f"/jobs/{job_id}").status_code == 202
            os.kill(worker, signal.SIGCONT)
            job = finish(api, job_id)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert job["state"] == "cancelled"
    assert job["chunks"]["cancelled"] == 2


def test_cancel_before_the_workflow_could_be_started(
    new_stack: Callable[..., RunningStack],
) -> None:
    """With Temporal down the job was never started: it is closed without it."""
    stack = new_stack(FANFOLD_WORKERS="1")
    temporal = stack.pid("temporal")
    os.kill(temporal, signal.SIGSTOP)
    try:
        with httpx.Client(base_url=stack.url, timeout=60) as api:
            job_id = submit(api, chunks=[[1], [2]], processor="double")["id"]
            assert api.delete(f"/jobs/{job_id}").status_code == 202
            os.kill(temporal, signal.SIGCONT)
            job = finish(api, job_id)
            assert job["state"] == "cancelled"
            assert job["chunks"]["cancelled"] == 2
            assert api.delete(f"/jobs/{job_id}").status_code == 200
    finally:
        os.kill(temporal, signal.SIGCONT)


def test_cancel_while_a_chunk_waits_for_its_next_attempt(
    api: httpx.Client, stack: RunningStack, execution: str
) -> None:
    job_id = submit(
        api,
        chunks=[[1], [2]],
        processor="double",
        options={"fail_attempts": 1},
        retry={"max_attempts": 2, "initial_interval_seconds": 60},
        execution=execution,
    )["id"]
    eventually(
        lambda: {child["attempts"] for child in children(api, job_id, state="pending")} == {1},
        what="both wait",
    )

    api.delete(f"/jobs/{job_id}")

    job = finish(api, job_id, timeout_seconds=20)
    assert (job["state"], job["chunks"]["cancelled"]) == ("cancelled", 2)
    eventually(lambda: not open_workflows(stack, job_id), what="nothing is left in Temporal")
