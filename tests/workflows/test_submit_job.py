"""SubmitJob: a job without the gateway, from its body to its end."""

import json
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from fanfold.contract.names import SUBMIT_JOB, job_id_of, new_job_id
from fanfold.contract.states import JobState
from fanfold.contract.submissions import MOST_BYTES
from fanfold.workers.registry import Registry
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import Fanfold
from tests.workflows.submitting import (
    BODY,
    QUEUE,
    OfAUser,
    failure_of,
    finished,
    job_of,
    submit,
    temporal,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The real server: its command line, its limits, its own ways to end a workflow."""
    return fanfold_on_dev_server


async def test_the_command_line_of_temporal_submits_a_job_and_gets_it_back(
    fanfold: Fanfold,
) -> None:
    given = ("--type", SUBMIT_JOB, "--task-queue", QUEUE, "--workflow-id", "by-hand")
    body = {**BODY, "name": "by hand", "reducer": "collect", "labels": {"team": "data"}}
    async with fanfold.working(temporal_ui_url="http://ui.example/"):
        await temporal(fanfold, "workflow", "start", *given, "--input", json.dumps(body))
        ended = await temporal(fanfold, "workflow", "result", "--workflow-id", "by-hand")
        described = await temporal(fanfold, "workflow", "describe", "--workflow-id", "by-hand")
    job = ended["result"]
    assert job["state"] == "succeeded"
    assert job["result"] == [{"index": 0, "result": [2, 4]}, {"index": 1, "result": [6]}]
    assert job["name"] == "by hand"
    assert job["labels"] == {"team": "data"}
    assert job["chunks"]["total"] == 2
    assert job["links"]["self"] == f"/jobs/{job['id']}"
    ui = f"http://ui.example/namespaces/default/workflows/{job['id']}"
    assert job["links"]["temporal_ui"] == ui
    assert job["id"] in json.dumps(described)
    assert "result_at" not in job


async def test_a_workflow_of_a_users_own_has_a_job_as_a_step(fanfold: Fanfold) -> None:
    of_a_user = Worker(
        fanfold.client,
        task_queue="of-a-user",
        workflows=[OfAUser],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    body = {**BODY, "reducer": "sum"}
    async with fanfold.working(), of_a_user:
        gave = await fanfold.client.execute_workflow(
            OfAUser.run, body, id="of-a-user", task_queue="of-a-user"
        )
    assert gave == ["succeeded", 12]


async def test_a_job_made_of_jobs_is_submitted_as_a_whole(fanfold: Fanfold) -> None:
    body = {
        "order": "sequence",
        "processor": "double",
        "reducer": "merge",
        "jobs": {
            "first": {"items": [1, 2]},
            "second": {"input": "previous"},
            "third": {"items": [1], "when": "previous.state == 'failed'"},
        },
    }
    async with fanfold.working():
        job = await finished(await submit(fanfold, body))
        failure = await failure_of(await submit(fanfold, {**body, "order": "parallel"}))
    assert job["state"] == "succeeded"
    assert (job["jobs"]["succeeded"], job["jobs"]["skipped"]) == (2, 1)
    assert job["result"] == [2, 4, 4, 8]
    assert "/jobs/second/input: goes with" in failure.message
    (row,) = await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=2)
    assert row.id == job["id"]


async def test_a_failed_job_is_given_back_like_any_other(fanfold: Fanfold) -> None:
    body = {**BODY, "options": {"fail_if_divisible_by": 1}, "retry": {"max_attempts": 1}}
    async with fanfold.working():
        job = await finished(await submit(fanfold, body))
    assert job["state"] == "failed"
    assert job["error"]["type"] == "AllItemsFailed"


async def test_numbers_and_texts_come_back_exactly_as_they_were_given(fanfold: Fanfold) -> None:
    items = [10**40, "ä\U0001f600", 0.1, None, {"a": [True]}]
    body = {"chunks": [items], "processor": "transform", "reducer": "merge"}
    async with fanfold.working():
        job = await finished(await submit(fanfold, body))
    assert job["result"] == items


async def test_the_id_of_the_job_sorts_with_those_of_the_gateway(fanfold: Fanfold) -> None:
    before = new_job_id()
    async with fanfold.working():
        job = await finished(await submit(fanfold, BODY))
    assert job_id_of(0, 0) < before[:14] < job["id"] < new_job_id()[:14] + "z"
    assert len(job["id"]) == len(before)


async def test_the_jobs_own_priority_goes_for_its_workflow(fanfold: Fanfold) -> None:
    async with fanfold.working():
        job = await finished(await submit(fanfold, {**BODY, "priority": 1}))
    described = await fanfold.client.get_workflow_handle(job["id"]).describe()
    given = described.raw_description.workflow_execution_info.priority
    assert (given.priority_key, given.fairness_key) == (1, job["id"])


async def test_a_result_that_temporal_cannot_carry_is_left_where_it_is(fanfold: Fanfold) -> None:
    async def long(item: int) -> str:
        return f"{item:0100}"

    body = {"items": list(range(20_000)), "chunk_size": 2000, "processor": "long"}
    async with fanfold.working(long):
        job = await finished(await submit(fanfold, {**body, "reducer": "merge"}))
    assert job["state"] == "succeeded"
    assert job["result"] is None
    assert job["result_at"] == f"/jobs/{job['id']}"
    whole = await ours(fanfold.ledger).jobs.result(job["id"])
    assert whole is not None
    assert len(whole) > MOST_BYTES


async def test_large_options_are_left_out_of_a_job_that_is_too_large_without_its_result(
    fanfold: Fanfold,
) -> None:
    async def numerous(item: int, *, numbers: list[float]) -> int:
        return item + len(numbers)

    # Written out they are longer: the body is within the limit, what is made of it is not.
    numbers = ",".join(["1e5"] * (MOST_BYTES // 5))
    body = f'{{"items": [1], "processor": "numerous", "options": {{"numbers": [{numbers}]}}}}'
    payload = Payload(metadata={"encoding": b"json/plain"}, data=body.encode())
    async with fanfold.working(numerous):
        job = await finished(await submit(fanfold, RawValue(payload)))
    assert job["state"] == "succeeded"
    assert (job["options"], job["result_at"]) == (None, f"/jobs/{job['id']}")


async def test_a_job_waits_for_its_time(fanfold: Fanfold) -> None:
    async with fanfold.working():
        handle = await submit(fanfold, {**BODY, "start_at": "2999-01-01T00:00:00Z"})
        row = await fanfold.row(await job_of(handle))
        assert row.state is JobState.PENDING
        await handle.terminate()
        handle = await submit(fanfold, {**BODY, "start_at": "2001-01-01T00:00:00Z"})
        assert (await finished(handle))["state"] == "succeeded"


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "faults"),
    [
        (
            {"itmes": [1], "processor": "double", "chunk_size": 0},
            "invalid_job",
            {"/itmes": "unknown field; did you mean items?", "/chunk_size": "must be at least 1"},
        ),
        ({**BODY, "processor": "dubble"}, "unknown_processor", {"/processor": "double"}),
        ({**BODY, "options": {"nope": 1}}, "invalid_options", {"/options/nope": "unknown"}),
        (
            {"source": "upload", "processor": "double"},
            "invalid_job",
            {"/source": "come with the job"},
        ),
        ({**BODY, "items": [1] * 11}, "limit_exceeded", {"/items": "FANFOLD_MAX_ITEMS"}),
        ("a text", "invalid_job", {"": "must be an object"}),
        (None, "invalid_job", {"": "must be an object"}),
        (b"bytes", "malformed_json", {"": "json/plain"}),
        (float("nan"), "malformed_json", {"": "not JSON"}),
        ("x" * MOST_BYTES, "limit_exceeded", {"": "POST /jobs takes more"}),
    ],
)
async def test_a_wrong_body_fails_with_each_fault_and_leaves_nothing(
    fanfold: Fanfold, body: Any, code: str, faults: dict[str, str]
) -> None:
    await fanfold.ledger.catalog.publish(Registry().entries())
    async with fanfold.working(max_items=10):
        failure = await failure_of(await submit(fanfold, body))
    (details,) = failure.details
    assert (failure.type, failure.non_retryable) == ("InvalidJob", True)
    assert details["code"] == code
    told = {fault["pointer"]: fault["message"] for fault in details["errors"]}
    assert told.keys() == faults.keys()
    for pointer, words in faults.items():
        assert words in told[pointer]
        assert f"{pointer or 'the job'}: {told[pointer]}" in failure.message
    assert await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=1) == []


@pytest.mark.parametrize(
    ("given", "words"), [((), "give the job as the one input"), ((BODY, BODY), "3 were given")]
)
async def test_no_body_and_two_bodies_are_refused(
    fanfold: Fanfold, given: tuple[Any, ...], words: str
) -> None:
    async with fanfold.working():
        assert words in (await failure_of(await submit(fanfold, *given))).message


async def test_a_field_given_twice_is_refused(fanfold: Fanfold) -> None:
    body = '{"items": [1], "processor": "double", "processor": "transform"}'
    given = ("--type", SUBMIT_JOB, "--task-queue", QUEUE, "--workflow-id", "twice")
    async with fanfold.working():
        await temporal(fanfold, "workflow", "start", *given, "--input", body)
        failure = await failure_of(fanfold.client.get_workflow_handle("twice"))
    assert failure.message == "/processor: is given more than once"
