"""Folds the surviving chunks' results into the job's, as they stream by.

Knows nothing of Temporal or the ledger. The reducer's code runs in threads, under a
time limit; what it keeps is all that is ever in memory.
"""

from collections.abc import Callable, Iterable

from fanfold.contract import json_values
from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import RetrySpec
from fanfold.ledger.records import ChunkOutput
from fanfold.processing import KeepsAll, Reducer
from fanfold.workers.processor import ReducerType
from fanfold.workers.threads import OutOfTime, run_in_thread
from fanfold.workers.user_errors import failure_of

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

    def __init__(self, reducer: ReducerType, *, max_result_bytes: int) -> None:
        """Fold with a new reducer of this type."""
        self._type = reducer
        self._reducer: Reducer | None = None
        self._keeps_all = False
        self._max_result_bytes = max_result_bytes
        self._least_bytes = 0

    async def add(self, results: Iterable[tuple[int, ChunkOutput]]) -> None:
        """Take the next results, by index, in index order: of each, the items that succeeded."""

        def add_all() -> None:
            reducer = self._begun()
            for index, output in results:
                result = json_values.decode(output.body)
                failed = frozenset(output.failed_places)
                if failed:
                    result = [given for at, given in enumerate(result) if at not in failed]
                reducer.add(index, result)
                self._least_bytes += len(output.body) - len(b"[]") - len(b"null,") * len(failed)
            self._keeps_all = isinstance(reducer, KeepsAll) and reducer.keeps_all

        await self._run(add_all)
        if self._keeps_all and self._least_bytes > self._max_result_bytes:
            raise too_large(f"more than {self._max_result_bytes}", self._max_result_bytes)

    async def result(self) -> bytes:
        """The folded value as JSON text."""
        body = b""

        def encode() -> None:
            nonlocal body
            body = json_values.encode(self._begun().result())

        await self._run(encode)
        if len(body) > self._max_result_bytes:
            raise too_large(str(len(body)), self._max_result_bytes)
        return body

    def _begun(self) -> Reducer:
        # In a thread, as everything that user code does.
        if self._reducer is None:
            self._reducer = self._type.new()
        return self._reducer

    async def _run(self, step: Callable[[], None]) -> None:
        try:
            await run_in_thread(step, timeout_seconds=STEP_SECONDS)
        except OutOfTime:
            message = f"reducer '{self._type.name}' did not finish within {STEP_SECONDS:g} seconds"
            failure = Failure(type=FailureType.FOLD_FAILED, message=message)
            raise FoldFailed(failure) from None
        except Exception as error:
            cause = failure_of(error, RetrySpec())
            message = f"reducer '{self._type.name}': {cause.type}: {cause.message}"
            failure = Failure(type=FailureType.FOLD_FAILED, message=message)
            raise FoldFailed(failure) from error


def listed(name: str, state: str, result: bytes | None) -> bytes:
    """A sub-job as `collect` lists it: JSON text."""
    head = json_values.encode({"name": name, "state": state})
    return head[:-1] + b',"result":' + (result or b"null") + b"}"


def too_large(size: str, max_result_bytes: int) -> FoldFailed:
    """What to raise where a folded value takes so many bytes."""
    message = (
        f"the folded result takes {size} bytes; at most {max_result_bytes} "
        "are allowed (FANFOLD_MAX_JOB_RESULT_BYTES); the chunks' results are all kept"
    )
    return FoldFailed(Failure(type=FailureType.FOLD_FAILED, message=message))
