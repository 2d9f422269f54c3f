"""Nothing acknowledged is lost: real processes, real signals, one fault each.

Most faults meet two jobs at once, one in each execution, so that each is survived in
both. `finish` checks after every fault what is promised of every job: each chunk in
exactly one terminal state, and counts that add up.
"""

import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.faults import (
    DOUBLED,
    EXECUTIONS,
    VALUES,
    all_have_ended,
    attempts,
    client,
    finish_doubled,
    is_alive,
    is_answering,
    kill,
    submit_gated,
    terminate,
)
from tests.e2e.journeys import children, finish, get, results, submit
from tests.waiting import eventually

NewStack = Callable[..., RunningStack]


def test_kill_of_all_workers_in_mid_chunk_repeats_only_what_was_running(
    new_stack: NewStack, gate: Path
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        jobs = submit_gated(api, gate)
        for one in jobs:
            # In the middle of a block: some of it done, some running, some not begun.
            (one.gate / "open-1").touch()
            eventually(partial(one.has_begun, 5), what="another has begun")
        kill(stack, "worker-0")
        kill(stack, "worker-1")
        finish_doubled(api, jobs)
        for one in jobs:
            assert attempts(api, one) == [2, 1, 2, 2, 2, *[1] * 7], one.execution
            assert "begun-1-2" not in one.begun()


def test_kill_of_temporal_in_mid_job(new_stack: NewStack, gate: Path) -> None:
    stack = new_stack()
    with client(stack) as api:
        jobs = submit_gated(api, gate)
        kill(stack, "temporal")
        finish_doubled(api, jobs)


def test_kill_of_the_gateway_right_after_the_post(new_stack: NewStack) -> None:
    stack = new_stack()
    with client(stack) as api:
        job_id = submit(api, chunks=[[v] for v in VALUES], processor="double", reducer="sum")["id"]
        kill(stack, "gateway")
    with client(stack) as api:
        eventually(partial(is_answering, api), what="the gateway is back")
        assert finish(api, job_id)["result"] == DOUBLED


def test_kill_of_the_gateway_in_the_middle_of_a_post_leaves_all_or_nothing(
    new_stack: NewStack,
) -> None:
    """The client saw no answer, so it tries again with its key: one job, not two, not half."""
    stack = new_stack()
    values = range(200_000)
    body = b'{"items":[%b],"chunk_size":20000,"processor":"double","reducer":"sum"}' % b",".join(
        b"%d" % value for value in values
    )
    head = (
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: mid-post\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    for sent in (len(body) // 2, len(body)):
        with socket.create_connection(("127.0.0.1", stack.http_port)) as connection:
            connection.sendall(head + body[:sent])
            kill(stack, "gateway")
        with client(stack) as api:
            eventually(partial(is_answering, api), what="the gateway is back")
    with client(stack) as api:
        headers = {"Content-Type": "application/json", "Idempotency-Key": "mid-post"}
        accepted = api.post("/jobs", content=body, headers=headers)
        assert accepted.status_code == 202
        jobs = api.get("/jobs").json()["jobs"]
        assert [job["id"] for job in jobs] == [accepted.json()["id"]]
        assert finish(api, jobs[0]["id"])["result"] == sum(2 * value for value in values)


def test_a_job_posted_while_temporal_is_down_runs_once_it_is_back(new_stack: NewStack) -> None:
    stack = new_stack()
    temporal = stack.pid("temporal")
    os.kill(temporal, signal.SIGSTOP)
    try:
        with client(stack) as api:
            job_id = submit(api, chunks=[[v] for v in VALUES], processor="double", reducer="sum")[
                "id"
            ]
            assert get(api, job_id)["state"] == "pending"
            unready = api.get("/readyz")
            assert unready.status_code == 503
            assert "Temporal" in unready.json()["detail"]
            assert api.get("/livez").status_code == 200
            os.kill(temporal, signal.SIGCONT)
            assert finish(api, job_id)["result"] == DOUBLED
    finally:
        os.kill(temporal, signal.SIGCONT)


def test_a_job_terminated_in_temporal_is_closed_with_an_error(
    new_stack: NewStack, gate: Path
) -> None:
    stack = new_stack()
    with client(stack) as api:
        for one in submit_gated(api, gate):
            terminate(stack, one.id)
            job = finish(api, one.id)
            assert job["state"] == "failed"
            assert job["error"]["type"] == "JobClosedOutside"
            assert "terminated" in job["error"]["message"]
            # Chunks that were running when it happened may not come back to life.
            one.open()
            ended = partial(all_have_ended, stack, one.id)
            eventually(ended, what="no child is left in Temporal")
            assert get(api, one.id)["chunks"] == job["chunks"]
            assert len(one.begun()) == 4


def test_a_chunk_terminated_in_temporal_fails_alone(new_stack: NewStack, gate: Path) -> None:
    stack = new_stack()
    with client(stack) as api:
        in_workflows, in_blocks = submit_gated(api, gate)
        terminate(stack, f"{in_workflows.id}/c0000002")
        eventually(
            lambda: get(api, in_workflows.id)["chunks"]["failed"] == 1, what="it is recorded"
        )
        in_workflows.open()
        job = finish(api, in_workflows.id)
        assert (job["state"], job["result"]) == ("partially_succeeded", DOUBLED - 4)
        (failed,) = children(api, in_workflows.id, state="failed")
        assert (failed["index"], failed["error"]["type"]) == (2, "ChunkClosedOutside")

        # In a block a chunk has no workflow to be terminated; its job has.
        (in_blocks.gate / "open-1").touch()
        eventually(lambda: len(in_blocks.begun()) == 5, what="one is done")
        terminate(stack, in_blocks.id)
        job = finish(api, in_blocks.id)
        assert (job["state"], job["error"]["type"]) == ("failed", "JobClosedOutside")
        assert (job["chunks"]["succeeded"], job["chunks"]["cancelled"]) == (1, 11)
        in_blocks.open()


def test_all_workers_away_for_a_while(new_stack: NewStack) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    workers = [stack.pid("worker-0"), stack.pid("worker-1")]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        with client(stack) as api:
            job_id = submit(api, chunks=[[v] for v in VALUES], processor="double", reducer="sum")[
                "id"
            ]
            assert get(api, job_id)["state"] == "pending"
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert finish(api, job_id)["result"] == DOUBLED
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_was_thought_dead_changes_nothing_when_it_comes_back(
    new_stack: NewStack, gate: Path, execution: str
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        (one,) = (job for job in submit_gated(api, gate) if job.execution == execution)
        zombie = int((one.gate / "begun-0-1").read_text())
        os.kill(zombie, signal.SIGSTOP)
        try:
            eventually(
                (one.gate / "begun-0-2").exists,
                what="the other worker takes over the chunk that this one ran",
                timeout_seconds=60,
            )
        finally:
            os.kill(zombie, signal.SIGCONT)
        finish_doubled(api, [one])
        assert attempts(api, one)[0] == 2
        assert set(attempts(api, one)) == {1, 2}


def test_sigterm_of_workers_hands_their_chunks_back_without_costing_an_attempt(
    new_stack: NewStack, gate: Path
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2", FANFOLD_SHUTDOWN_GRACE_SECONDS="0.5")
    with client(stack) as api:
        jobs = submit_gated(api, gate)
        stopped = [stack.pid(name) for name in ("worker-0", "worker-1")]
        for pid in stopped:
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: not any(map(is_alive, stopped)), what="the workers have stopped")
        finish_doubled(api, jobs)
        for one in jobs:
            assert set(attempts(api, one)) == {1}, one.execution


def test_a_chunk_that_kills_its_worker_is_tried_again_and_its_neighbours_finish(
    new_stack: NewStack, execution: str
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        poison = submit(
            api, chunks=[[1]], processor="deadly", options={"deaths": 1}, execution=execution
        )["id"]
        plain = submit(api, chunks=[[v] for v in VALUES], processor="double", reducer="sum")["id"]
        assert finish(api, plain)["result"] == DOUBLED
        assert finish(api, poison)["state"] == "succeeded"
        (child,) = children(api, poison)
        assert (child["attempts"], child["result"]) == (2, [2])


def test_a_chunk_that_always_kills_its_worker_fails_after_its_last_attempt(
    new_stack: NewStack, execution: str
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        job_id = submit(
            api,
            chunks=[[1]],
            processor="deadly",
            options={"deaths": 99},
            execution=execution,
            retry={"max_attempts": 2, "initial_interval_seconds": 0.1},
        )["id"]
        job = finish(api, job_id, timeout_seconds=100)
        assert job["state"] == "failed"
        (child,) = children(api, job_id)
        assert (child["error"]["type"], child["attempts"]) == ("WorkerLost", 2)


def test_many_chunks_survive_kills_of_everything_in_turn(new_stack: NewStack) -> None:
    """Quick children run as local activities, which have no heartbeat of their own."""
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        job_ids = [
            submit(
                api,
                chunks=[[value] for value in range(300)],
                processor="double",
                options={"delay_seconds": [0.05, 0.1]},
                execution=execution,
                reducer="sum",
                retry={"max_attempts": 5, "initial_interval_seconds": 0.1},
                max_concurrency=10,
            )["id"]
            for execution in EXECUTIONS
        ]

        def until(count: int) -> None:
            eventually(
                lambda: any(get(api, job_id)["chunks"]["succeeded"] >= count for job_id in job_ids),
                what=f"{count} chunks are done",
                timeout_seconds=60,
            )

        until(60)
        kill(stack, "worker-0")
        until(120)
        os.kill(stack.pid("worker-1"), signal.SIGTERM)
        until(180)
        kill(stack, "temporal")
        until(240)
        kill(stack, "worker-1")
        for job_id in job_ids:
            job = finish(api, job_id, timeout_seconds=90)
            assert (job["state"], job["result"]) == ("succeeded", sum(2 * v for v in range(300)))


def test_a_whole_stack_stopped_and_started_again_goes_on(new_stack: NewStack, gate: Path) -> None:
    stack = new_stack()
    with client(stack) as api:
        finished = finish(api, submit(api, chunks=[[1]], processor="double", reducer="sum")["id"])
        jobs = submit_gated(api, gate)
    pids = [int(path.read_text()) for path in (stack.data_dir / "run").glob("*.pid")]
    stack.stop()
    assert not [pid for pid in pids if is_alive(pid)], "a process was left behind"
    stack = new_stack()
    with client(stack) as api:
        finish_doubled(api, jobs)
        assert get(api, finished["id"]) == finished
        assert results(api, finished["id"])[0]["result"] == [2]


@pytest.mark.parametrize("processor", ["endless", "gated"])
def test_a_processor_that_never_ends_is_ended_by_its_timeout(
    api: httpx.Client, gate: Path, processor: str, execution: str
) -> None:
    job_id = submit(
        api,
        chunks=[[1]],
        execution=execution,
        processor=processor,
        options={"directory": str(gate)} if processor == "gated" else {},
        chunk_timeout_seconds=0.5,
        retry={"max_attempts": 2, "initial_interval_seconds": 0.1},
    )["id"]
    # The worker is not blocked meanwhile.
    neighbour = submit(api, chunks=[[21]], processor="double", reducer="sum", execution=execution)[
        "id"
    ]
    assert finish(api, neighbour)["result"] == 42
    job = finish(api, job_id)
    (child,) = children(api, job_id)
    assert job["state"] == "failed"
    assert (child["error"]["type"], child["attempts"]) == ("TimeoutError", 2)
