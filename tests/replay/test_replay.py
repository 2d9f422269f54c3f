"""Every committed history replays through today's code.

One that does not stands for running jobs that would be stuck after an upgrade:
docs/howto/change-a-workflow.md says how to change a workflow without that.
"""

import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from fanfold.contract.names import CHUNK_WORKFLOW, JOB_WORKFLOW, SHARD_WORKFLOW, SUBMIT_JOB
from fanfold.workers.workflows.chunk import ChunkWorkflow
from fanfold.workers.workflows.job import JobWorkflow
from fanfold.workers.workflows.shard import ShardWorkflow
from fanfold.workers.workflows.submission import SubmitJob
from scripts.history_recorder import HISTORIES
from scripts.job_histories import SCENARIOS
from scripts.record_histories import HISTORIES_THAT_MUST_FAIL
from scripts.submission_histories import SUBMISSIONS

pytestmark = pytest.mark.anyio

COMMITTED = sorted(HISTORIES.glob("*.json"))
MUST_FAIL = sorted(HISTORIES_THAT_MUST_FAIL.glob("*.json"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def replay(text: str, runner: WorkflowRunner) -> None:
    """Raises NondeterminismError where today's code would do something else."""
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    replayer = Replayer(
        workflows=[JobWorkflow, ShardWorkflow, ChunkWorkflow, SubmitJob], workflow_runner=runner
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(started["workflowId"], text))


@pytest.fixture
def history(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
async def test_a_committed_history_replays(history: str) -> None:
    await replay(history, SandboxedWorkflowRunner())


@pytest.mark.parametrize("path", MUST_FAIL, ids=lambda path: path.stem)
async def test_a_history_of_other_code_does_not_replay(history: str) -> None:
    with pytest.raises(NondeterminismError):
        await replay(history, SandboxedWorkflowRunner())


@pytest.mark.parametrize("path", [HISTORIES / f"{SHARD_WORKFLOW}__shards_full.json"])
async def test_the_sizes_in_its_input_decide_what_a_history_replays_to(history: str) -> None:
    full = json.loads(history)
    started = full["events"][0]["workflowExecutionStartedEventAttributes"]
    (payload,) = started["input"]["payloads"]
    given = json.loads(base64.b64decode(payload["data"]))
    given["tuning"]["max_events"] = 8_000
    payload["data"] = base64.b64encode(json.dumps(given).encode()).decode()
    with pytest.raises(NondeterminismError):
        await replay(json.dumps(full), SandboxedWorkflowRunner())


def test_a_history_of_every_scenario_is_committed() -> None:
    stems = {path.stem for path in COMMITTED}
    wanted = {f"{JOB_WORKFLOW}__{scenario.name}" for scenario in SCENARIOS}
    wanted |= {f"{CHUNK_WORKFLOW}__{one.name}" for one in SCENARIOS if one.chunk is not None}
    wanted |= {f"{SHARD_WORKFLOW}__{one.name}" for one in SCENARIOS if one.shard is not None}
    wanted |= {f"{SUBMIT_JOB}__{submission.name}" for submission in SUBMISSIONS}
    assert wanted <= stems, "record what is missing with: make histories"
    assert MUST_FAIL
