"""Folds the surviving chunks' results into the job's, as they stream by.

Knows nothing of Temporal or the ledger. The reducer's code runs in threads, under a
time limit; what it keeps is all that is ever in memory.
"""

from collections.abc import Callable, Iterable

from contract import json_values
from contract.failures import Failure, FailureType
from contract.job_spec import RetrySpec
from workers.execution import failure_of
from workers.processor import Reducer
from workers.registry import ReducerFactory
from workers.threads import OutOfTime, run_in_thread

STEP_SECONDS = 300.0
"""How long a reducer may take over some hundred results, or over its value at the end."""


class FoldFailed(Exception):
    """The fold over the survivors failed; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure that the job will show."""
        super().__init__(failure.message)
        self.failure = failure


class Fold:
    """One fold. Every method raises FoldFailed."""

    def __init__(self, name: str, factory: ReducerFactory, *, max_result_bytes: int) -> None:
        """Fold with a new reducer; `name` is for its failures."""
        self._name = name
        self._factory = factory
        self._reducer: Reducer | None = None
        self._max_result_bytes = max_result_bytes
        self._least_bytes = 0

    async def add(self, results: Iterable[tuple[int, bytes]]) -> None:
        """Take the next results, as index and JSON text, in index order."""

        def add_all() -> None:
            if self._reducer is None:
                self._reducer = self._factory()
            for index, body in results:
                self._reducer.add(index, json_values.decode(body))
                self._least_bytes += len(body) - len(b"[]")

        await self._run(add_all)
        if self._least_bytes > self._max_result_bytes and getattr(
            self._reducer, "keeps_all", False
        ):
            raise self._too_large(f"more than {self._max_result_bytes}")

    async def result(self) -> bytes:
        """The folded value as JSON text."""
        body = b""

        def encode() -> None:
            nonlocal body
            reducer = self._reducer or self._factory()
            body = json_values.encode(reducer.result())

        await self._run(encode)
        if len(body) > self._max_result_bytes:
            raise self._too_large(str(len(body)))
        return body

    async def _run(self, step: Callable[[], None]) -> None:
        try:
            await run_in_thread(step, timeout_seconds=STEP_SECONDS)
        except OutOfTime:
            message = f"reducer '{self._name}' did not finish within {STEP_SECONDS:g} seconds"
            failure = Failure(type=FailureType.FOLD_FAILED, message=message)
            raise FoldFailed(failure) from None
        except Exception as error:
            cause = failure_of(error, RetrySpec())
            message = f"reducer '{self._name}': {cause.type}: {cause.message}"
            failure = Failure(type=FailureType.FOLD_FAILED, message=message)
            raise FoldFailed(failure) from error

    def _too_large(self, size: str) -> FoldFailed:
        message = (
            f"the folded result takes {size} bytes; at most {self._max_result_bytes} "
            "are allowed (FANFOLD_MAX_JOB_RESULT_BYTES); the chunks' results are all kept"
        )
        return FoldFailed(Failure(type=FailureType.FOLD_FAILED, message=message))
