"""Lab 5's starter, as a process: `python -m benchmarks.lab5_starter ADDRESS CHILDREN`.

Prints one object of JSON: the seconds from starting the parent to having its result, and
how many children succeeded and failed.
"""

import asyncio
import json
import os
import sys
import time
import uuid

from temporalio.client import Client

from benchmarks.lab5 import TASK_QUEUE, ParentWorkflow


async def start(address: str, children: int) -> dict[str, float]:
    """Run one parent with so many children to its end."""
    client = await Client.connect(address)
    started = time.perf_counter()
    result = await client.execute_workflow(
        ParentWorkflow.run,
        list(range(1, children + 1)),
        id=f"parent-{uuid.uuid4().hex}",
        task_queue=TASK_QUEUE,
    )
    return {
        "seconds": time.perf_counter() - started,
        "succeeded": result["success_count"],
        "failed": result["failure_count"],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(start(sys.argv[1], int(sys.argv[2])))) + "\n")
    sys.stdout.flush()
    # The SDK's native threads now and then abort an interpreter that ends while connected.
    os._exit(0)
