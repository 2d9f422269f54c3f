"""Reducers: what the built-in ones make of the survivors' results."""

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.json_values import UnstorableValue, encode
from fanfold.processing import Reducer, ValidationError
from fanfold.workers.reducers.collect import Collect
from fanfold.workers.reducers.merge import Merge
from fanfold.workers.reducers.merge_counts import MergeCounts
from fanfold.workers.reducers.sum import Sum
from fanfold.workers.registry import BUILT_IN_REDUCERS
from tests.unit.any_json import exactly, values

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.dictionaries(st.text(max_size=3), st.integers(0, 10**30), max_size=5)


def folded(reducer: Reducer, results: dict[int, Any]) -> Any:
    for index, result in results.items():
        reducer.add(index, result)
    return reducer.result()


@pytest.mark.parametrize(
    ("reducer", "nothing"), [(Collect, []), (Sum, 0), (MergeCounts, {}), (Merge, [])]
)
def test_of_no_survivors_there_is_still_a_result(reducer: type[Reducer], nothing: object) -> None:
    assert exactly(reducer().result()) == exactly(nothing)
    assert reducer in BUILT_IN_REDUCERS


@given(st.lists(values, max_size=5))
def test_collect_keeps_each_result_with_its_index(results: list[Any]) -> None:
    expected = [{"index": 2 * i, "result": result} for i, result in enumerate(results)]
    found = folded(Collect(), {2 * i: result for i, result in enumerate(results)})
    assert exactly(found) == exactly(expected)


@given(st.lists(st.lists(st.integers()), max_size=6))
def test_the_sum_of_integers_is_exact(results: list[list[int]]) -> None:
    assert exactly(folded(Sum(), dict(enumerate(results)))) == exactly(sum(map(sum, results)))


@given(st.lists(st.one_of(st.integers(-(10**30), 10**30), st.floats(-1e300, 1e300)), min_size=1))
def test_a_sum_with_fractions_is_rounded_once(numbers: list[int | float]) -> None:
    total = folded(Sum(), dict(enumerate(numbers)))
    exact = sum((Fraction(number) for number in numbers), Fraction())
    if any(isinstance(number, float) for number in numbers):
        assert exactly(total) == exactly(float(exact))
    else:
        assert exactly(total) == exactly(int(exact))


def test_the_order_of_the_numbers_does_not_change_their_sum() -> None:
    numbers = [0.1] * 10 + [1e16, 1.0, -1e16]
    assert folded(Sum(), dict(enumerate(numbers))) == 2.0
    assert folded(Sum(), dict(enumerate(reversed(numbers)))) == 2.0


def test_numbers_are_found_at_any_depth() -> None:
    results = {0: [1, [2, {"a": 3}]], 3: {"b": {"c": [4]}}, 5: [], 6: {}, 9: 5}
    assert folded(Sum(), results) == 15


@pytest.mark.parametrize("result", ["1", None, True, [1, "2"], {"a": False}])
def test_what_is_no_number_cannot_be_summed(result: object) -> None:
    with pytest.raises(ValidationError, match="only numbers can be summed"):
        Sum().add(0, result)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_too_large_for_a_fraction_is_refused_when_it_is_recorded(sign: int) -> None:
    total = folded(Sum(), {0: sign * 1e308, 1: sign * 1e308})
    with pytest.raises(UnstorableValue, match="too large"):
        encode(total)


@given(st.lists(counts, max_size=6))
def test_counts_are_added_up_in_alphabetical_order(results: list[dict[str, int]]) -> None:
    expected: dict[str, int] = {}
    for result in results:
        for key, count in result.items():
            expected[key] = expected.get(key, 0) + count
    found = folded(MergeCounts(), dict(enumerate(results)))
    assert list(found.items()) == sorted(expected.items())


def test_counts_may_be_fractions_and_negative() -> None:
    assert folded(MergeCounts(), {0: {"a": 1.5, "b": -2}, 1: {"a": 1, "b": 2}}) == {
        "a": 2.5,
        "b": 0,
    }


@pytest.mark.parametrize("result", [[1], 5, None, "a"])
def test_what_is_no_object_has_no_counts(result: object) -> None:
    with pytest.raises(ValidationError, match="the result of chunk 7 is not an object of counts"):
        MergeCounts().add(7, result)


@pytest.mark.parametrize("count", ["1", None, True, [1]])
def test_a_count_is_a_number(count: object) -> None:
    with pytest.raises(ValidationError, match="a count in the result of chunk 7 is not a number"):
        MergeCounts().add(7, {"a": count})


@given(st.lists(st.lists(values, max_size=3), max_size=4))
def test_arrays_are_joined_in_index_order(results: list[list[Any]]) -> None:
    expected = [item for result in results for item in result]
    assert exactly(folded(Merge(), dict(enumerate(results)))) == exactly(expected)


def test_of_objects_with_the_same_key_the_last_wins() -> None:
    found = folded(Merge(), {0: {"a": 1, "b": 2}, 4: {"b": 3, "c": [4]}})
    assert found == {"a": 1, "b": 3, "c": [4]}


@pytest.mark.parametrize(
    ("before", "result"),
    [([[1]], {"a": 1}), ([{"a": 1}], [1]), ([[1], [2]], 5), ([], 7), ([], "ab"), ([], None)],
)
def test_what_is_not_of_one_kind_cannot_be_merged(before: list[Any], result: object) -> None:
    merge = Merge()
    folded(merge, dict(enumerate(before)))
    with pytest.raises(ValidationError, match="the result of chunk 7 cannot be merged"):
        merge.add(7, result)


def test_merging_leaves_the_results_themselves_alone() -> None:
    first = {"a": [1]}
    before = json.dumps(first)
    folded(Merge(), {0: first, 1: {"b": 2}})
    assert json.dumps(first) == before
