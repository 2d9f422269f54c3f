"""Health check of a worker container: did Temporal lately hear from a worker on this host?

Exit code 0 where it did, else 1 and one line that says why not. It tells whether this
worker gets work, not whether it should be restarted: while Temporal is down no worker
polls, and a restart repairs none of them.
"""

import asyncio
import os
import socket
import sys
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from fanfold.contract import settings, temporal
from fanfold.contract.names import job_task_queue
from fanfold.ledger.connect import connect
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable

_RPC_TIMEOUT = timedelta(seconds=5)
# The server answers an idle poll after a minute, and the next one follows at once.
_HEARD_WITHIN = timedelta(seconds=100)


async def ledger_id() -> str:
    """The id of the configured ledger, which names the queues of its workers.

    Raises LedgerUnavailable or LedgerFailure where it cannot be read.
    """
    async with connect(settings.load(settings.LedgerSettings).ledger) as ledger:
        return ledger.id


async def last_poll(host: str, queue: str) -> datetime | None:
    """When a worker process of this host last asked for a job's work.

    The jobs' queue, because its tasks are short: a worker whose chunks take hours stops
    asking for more of them, and is well.

    Raises RuntimeError or RPCError where Temporal does not answer.
    """
    client = await temporal.connect()
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=_RPC_TIMEOUT,
    )
    # The SDK calls itself pid@host.
    times = [
        poller.last_access_time.ToDatetime(tzinfo=UTC)
        for poller in answer.pollers
        if poller.identity.endswith(f"@{host}")
    ]
    return max(times, default=None)


def main() -> int:
    """Say whether this host's worker polls; the exit code."""
    host = socket.gethostname()
    try:
        queue = job_task_queue(asyncio.run(ledger_id()))
        polled = asyncio.run(last_poll(host, queue))
    except settings.InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        return settings.EXIT_BAD_SETTINGS
    except (LedgerUnavailable, LedgerFailure) as error:
        sys.stderr.write(f"the ledger does not answer: {error}\n")
        return 1
    except (RuntimeError, RPCError) as error:
        sys.stderr.write(f"Temporal does not answer: {error}\n")
        return 1
    if polled is None or datetime.now(UTC) - polled > _HEARD_WITHIN:
        when = "never" if polled is None else f"at {polled:%H:%M:%S}, not since"
        sys.stderr.write(f"no worker on {host} polls {queue}: last heard {when}\n")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    # No ordinary exit: with a client still connected the SDK at times aborts while the
    # interpreter shuts down, and a well worker would be reported as ill.
    sys.stderr.flush()
    os._exit(code)
