"""Lab 5's worker, all defaults, as a process: `python -m benchmarks.lab5_worker ADDRESS`.

A module of its own: the workflow sandbox imports the workflows' module again for each
run, and must find nothing there that starts anything.
"""

import asyncio
import sys

from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.lab5 import TASK_QUEUE, ChildWorkflow, ParentWorkflow


async def work(address: str) -> None:
    """Work until the process is ended."""
    client = await Client.connect(address)
    worker = Worker(client, task_queue=TASK_QUEUE, workflows=[ParentWorkflow, ChildWorkflow])
    await worker.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
