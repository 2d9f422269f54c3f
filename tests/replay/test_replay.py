"""Every committed history replays through today's code.

One that does not stands for running jobs that would be stuck after an upgrade:
docs/howto/change-a-workflow.md says how to change a workflow without that.
"""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

import workers.workflows.shard
from contract.names import CHUNK_WORKFLOW, JOB_WORKFLOW, SHARD_WORKFLOW
from scripts.record_histories import (
    CONTINUED_AS_NEW,
    EVENTS_IN_A_SHORT_RUN,
    HISTORIES,
    HISTORIES_THAT_MUST_FAIL,
    SCENARIOS,
    SCENARIOS_CONTINUED,
)
from workers.workflows.chunk import ChunkWorkflow
from workers.workflows.job import JobWorkflow
from workers.workflows.shard import ShardWorkflow

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
        workflows=[JobWorkflow, ShardWorkflow, ChunkWorkflow], workflow_runner=runner
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(started["workflowId"], text))


@pytest.fixture
def history(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
async def test_a_committed_history_replays(
    path: Path, history: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner: WorkflowRunner = SandboxedWorkflowRunner()
    if CONTINUED_AS_NEW in path.stem:
        # Recorded under a lower limit; the sandbox would import the module with the usual one.
        monkeypatch.setattr(workers.workflows.shard, "MAX_EVENTS_IN_A_RUN", EVENTS_IN_A_SHORT_RUN)
        runner = UnsandboxedWorkflowRunner()
    await replay(history, runner)


@pytest.mark.parametrize("path", MUST_FAIL, ids=lambda path: path.stem)
async def test_a_history_of_other_code_does_not_replay(history: str) -> None:
    with pytest.raises(NondeterminismError):
        await replay(history, SandboxedWorkflowRunner())


@pytest.mark.parametrize(
    "path", [HISTORIES / f"{SHARD_WORKFLOW}__shards_{CONTINUED_AS_NEW}__run_1.json"]
)
async def test_a_run_replayed_under_another_limit_does_not_replay(history: str) -> None:
    # Else the limit that continued runs are replayed under would not matter.
    with pytest.raises(NondeterminismError):
        await replay(history, UnsandboxedWorkflowRunner())


def test_a_history_of_every_scenario_is_committed() -> None:
    stems = {path.stem for path in COMMITTED}
    wanted = {f"{JOB_WORKFLOW}__{scenario.name}" for scenario in SCENARIOS}
    wanted |= {f"{CHUNK_WORKFLOW}__{one.name}" for one in SCENARIOS if one.chunk is not None}
    wanted |= {f"{SHARD_WORKFLOW}__{one.name}" for one in SCENARIOS if one.shard is not None}
    for scenario in SCENARIOS_CONTINUED:
        wanted |= {f"{SHARD_WORKFLOW}__{scenario.name}__run_{number}" for number in (1, 2)}
    assert wanted <= stems, "record what is missing with: make histories"
    assert MUST_FAIL
