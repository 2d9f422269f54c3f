"""The shape of the tutorial's Lab 5, in our own code: what every rate is compared with.

One parent starts every child at once and gathers them, exceptions and all; a child does
its work in the workflow itself, without an activity, and keeps nothing.
"""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

TASK_QUEUE = "parent-and-child"
FAILS_IF_DIVISIBLE_BY = 10


@workflow.defn
class ChildWorkflow:
    """Doubles one value; one value in ten fails."""

    @workflow.run
    async def run(self, value: int) -> int:
        """Twice the value."""
        if value % FAILS_IF_DIVISIBLE_BY == 0:
            raise ApplicationError(f"Simulated failure for value {value}")
        workflow.logger.info("processed %d", value)
        return value * 2


@workflow.defn
class ParentWorkflow:
    """All children at once, and what became of each."""

    @workflow.run
    async def run(self, values: list[int]) -> dict[str, Any]:
        """The children's results and errors, with their counts."""
        children = [
            workflow.execute_child_workflow(
                ChildWorkflow.run,
                value,
                id=f"child-{value}",
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            for value in values
        ]
        outcomes = await asyncio.gather(*children, return_exceptions=True)
        results, errors = [], []
        for value, outcome in zip(values, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                errors.append({"value": value, "error": str(outcome)})
                workflow.logger.error("child %d failed: %s", value, outcome)
            else:
                results.append({"value": value, "result": outcome})
                workflow.logger.info("child %d gave %d", value, outcome)
        return {
            "results": results,
            "errors": errors,
            "success_count": len(results),
            "failure_count": len(errors),
            "success_rate": len(results) / len(values) if values else 0,
        }
