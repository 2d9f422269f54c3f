"""The fold: batch by batch, in bounded memory and time, its failures in words."""

import time
from typing import Any

import pytest

import fanfold.workers.fold
from fanfold.contract.failures import FailureType
from fanfold.processing import Reducer
from fanfold.workers.fold import Fold, FoldFailed
from fanfold.workers.processor import ReducerType
from fanfold.workers.reducers.collect import Collect
from fanfold.workers.reducers.merge import Merge
from fanfold.workers.reducers.sum import Sum

pytestmark = pytest.mark.anyio

LIMIT = 100


def fold(reducer: type[Reducer], *, max_result_bytes: int = LIMIT) -> Fold:
    return Fold(ReducerType(reducer), max_result_bytes=max_result_bytes)


class Raises:
    """A reducer that raises what its subclass says, at the first result."""

    name = "mine"
    error: BaseException

    def add(self, index: int, result: Any) -> None:
        del index, result
        raise self.error

    def result(self) -> Any:
        return None


class Unmakeable(Sum):
    def __init__(self) -> None:
        raise RuntimeError("no such table")


class Bag:
    """A reducer that says by itself, and not by its class, that it keeps all."""

    def __init__(self) -> None:
        self.keeps_all = True
        self._kept: list[Any] = []

    def add(self, index: int, result: Any) -> None:
        del index
        self._kept.append(result)

    def result(self) -> Any:
        return self._kept


class Falsy(Sum):
    def __bool__(self) -> bool:
        return False


class Unsure(Sum):
    @property
    def keeps_all(self) -> bool:
        raise RuntimeError("cannot tell")


class Sleeps:
    def add(self, index: int, result: Any) -> None:
        del index, result
        while True:
            time.sleep(0.01)

    def result(self) -> Any:
        return None


async def test_batches_are_folded_as_if_they_were_one() -> None:
    one = fold(Collect)
    await one.add([(0, b"[1]"), (2, b"[2]")])
    await one.add([(3, b'"x"')])
    assert await one.result() == (
        b'[{"index":0,"result":[1]},{"index":2,"result":[2]},{"index":3,"result":"x"}]'
    )


async def test_a_fold_over_nothing_is_the_reducers_own_zero() -> None:
    assert await fold(Sum).result() == b"0"


async def test_a_result_over_the_limit_names_limit_and_setting() -> None:
    one = fold(Merge)
    await one.add([(0, b'{"key":"%b"}' % (b"x" * LIMIT))])
    with pytest.raises(FoldFailed, match="takes 110 bytes; at most 100 are allowed") as failed:
        await one.result()
    assert failed.value.failure.type == FailureType.FOLD_FAILED
    assert "FANFOLD_MAX_JOB_RESULT_BYTES" in failed.value.failure.message


@pytest.mark.parametrize("reducer", [Collect, Merge, Bag])
async def test_what_keeps_all_stops_before_it_has_all_in_memory(reducer: type[Reducer]) -> None:
    one = fold(reducer)
    batch = [(index, b"[12345678]") for index in range(10)]
    await one.add(batch)
    with pytest.raises(FoldFailed, match="more than 100 bytes"):
        await one.add(batch)


async def test_objects_that_share_their_keys_may_be_merged_without_end() -> None:
    one = fold(Merge)
    for _ in range(50):
        await one.add([(0, b'{"same":12345678}')])
    assert await one.result() == b'{"same":12345678}'


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("price"), "KeyError: 'price'"),
        (SystemExit(3), "SystemExit: 3"),
        (StopIteration(), "StopIteration"),
    ],
)
async def test_whatever_a_reducer_raises_is_its_failure(error: BaseException, words: str) -> None:
    reducer = type("Mine", (Raises,), {"error": error})
    with pytest.raises(FoldFailed, match="reducer 'mine': ") as failed:
        await fold(reducer).add([(0, b"1")])
    assert words in failed.value.failure.message


async def test_a_reducer_that_cannot_be_made_is_a_failure_too() -> None:
    with pytest.raises(FoldFailed, match="no such table"):
        await fold(Unmakeable).result()


async def test_a_reducer_that_cannot_say_whether_it_keeps_all_is_a_failure_too() -> None:
    with pytest.raises(FoldFailed, match="cannot tell"):
        await fold(Unsure).add([(0, b"1")])


async def test_a_reducer_that_is_false_to_python_is_made_once_all_the_same() -> None:
    one = fold(Falsy)
    await one.add([(0, b"1")])
    await one.add([(1, b"2")])
    assert await one.result() == b"3"


async def test_a_reducer_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanfold.workers.fold, "STEP_SECONDS", 0.05)
    with pytest.raises(FoldFailed, match=r"did not finish within 0\.05 seconds"):
        await fold(Sleeps).add([(0, b"1")])
