"""Records workflow histories for tests/replay: really runs the scenarios, on a development server.

Those that are named, or all. Overwrites what it recorded before, and deletes nothing:
histories of earlier code stay for as long as jobs that it started may be running
(docs/howto/change-a-workflow.md).
"""

import asyncio
import sys
import tempfile
from collections.abc import Collection
from contextlib import AsyncExitStack

from temporalio.testing import WorkflowEnvironment

from fanfold.contract.names import CHUNK_WORKFLOW
from fanfold.contract.settings import WorkerSettings
from fanfold.devstack import temporal_server
from fanfold.ledger.connect import connect
from fanfold.workers.main import build_workers
from fanfold.workers.processor import Processor
from fanfold.workers.registry import Registry
from scripts.history_files import record_one_that_must_fail
from scripts.history_recorder import HISTORIES, Recorder
from scripts.job_histories import SCENARIOS
from scripts.submission_histories import SUBMISSIONS, Submitter

HISTORIES_THAT_MUST_FAIL = HISTORIES.with_name("histories_that_must_fail")

IDENTITY = "fanfold"
"""Client and worker in the histories, where their default tells process, user and host."""


async def record(names: Collection[str]) -> None:
    """Record the scenarios of these names, or all, on a server and a ledger of their own."""
    known = {scenario.name for scenario in SCENARIOS} | {one.name for one in SUBMISSIONS}
    unknown = set(names) - known
    if unknown:
        sys.exit(f"there is no scenario of this name: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            environment = await WorkflowEnvironment.start_local(
                identity=IDENTITY, dev_server_existing_path=str(temporal_server.binary())
            )
            await stack.enter_async_context(environment)
            ledger = await stack.enter_async_context(connect(f"sqlite:///{directory}/ledger.db"))
            recorder = Recorder(environment.client, ledger)
            registry = Registry()
            registry.processors["wait_at_zero"] = Processor(recorder.wait_at_zero)
            settings = WorkerSettings(shutdown_grace_seconds=0)
            for worker in build_workers(environment.client, ledger, registry, settings):
                await stack.enter_async_context(worker)
            for scenario in SCENARIOS:
                if not names or scenario.name in names:
                    await recorder.record(scenario)
            submitter = Submitter(environment.client, ledger, recorder)
            for submission in SUBMISSIONS:
                if not names or submission.name in names:
                    await submitter.record(submission)
            if names:
                return
            await record_one_that_must_fail(
                environment.client,
                HISTORIES_THAT_MUST_FAIL / f"{CHUNK_WORKFLOW}__sleeps_first.json",
            )


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
