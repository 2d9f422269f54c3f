"""Deciding conditions: what holds, what nobody can decide, and what it costs at most."""

import threading
import time
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.conditions import InvalidCondition, UndecidableCondition, check, holds
from tests.unit.any_json import values

CHUNK = {
    "items": [{"country": "FI", "amount": 3}, {"country": "SE", "amount": None}],
    "first": {"country": "FI", "amount": 3},
}


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("first.amount == `3`", True),
        ("first.amount == `3.0`", True),
        ("first.amount == '3'", False),
        ("first.vat", False),
        ("first.vat.number > `3`", False),
        ("items[1].amount", False),
        ("`false`", False),
        ("first.country > 'EE'", True),
        ("contains(first.country, `1`)", False),
        ("length(items[?amount > `1`]) == `1`", True),
    ],
)
def test_true_alone_is_true(text: str, *, is_true: bool) -> None:
    assert holds(text, CHUNK) is is_true


@pytest.mark.parametrize("value", [0, 1, -0.5, "", "true", [], [True], {}, {"a": True}])
def test_what_is_neither_true_nor_untrue_decides_nothing(value: Any) -> None:
    with pytest.raises(UndecidableCondition, match=r"^it gives .*true or false: first\.a$"):
        holds("first.a", {"first": {"a": value}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abs(first.country) > `1`", "abs() takes a number, and is given a string"),
        ("sum(items) > `1`", "sum() takes an array of numbers, and is given an array with an obj"),
        ("sum(items[*].country) > `1`", "and is given an array with a string in it"),
        ("length(items[1].amount) > `1`", "length() takes a string, an array or an object, and"),
        ("max_by(items, &amount) == `1`", "max_by() takes a number or a string, and is given nul"),
        ("sort_by(items, &@)[0] == `1`", "sort_by() takes a string or a number, and is given an"),
        ("join('-', items[*].amount) == 'a'", "join() takes an array of strings, and is given an"),
        ("first.amount > 'FI'", "a number and a string have no order"),
        ("ceil(to_number('inf')) == `1`", "cannot convert float infinity to integer"),
        ("first.b == itmes(@)", "there is no function 'itmes'"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_says_why(text: str, said: str) -> None:
    with pytest.raises(UndecidableCondition) as undecided:
        holds(text, CHUNK)
    assert said in str(undecided.value)
    assert str(undecided.value).endswith(f": {text}")


def test_no_error_repeats_data() -> None:
    data = {"first": {"secret": "hunter2"}}
    for text in ("abs(first.secret) > `1`", "first.secret", "first.secret > `1`"):
        with pytest.raises(UndecidableCondition) as undecided:
            holds(text, data)
        assert "hunter2" not in str(undecided.value)


def test_data_nested_too_deeply_to_be_read_decides_nothing() -> None:
    def nested() -> Any:
        value: Any = 1
        for _ in range(100_000):
            value = [value]
        return value

    with pytest.raises(UndecidableCondition, match="nested too deeply"):
        holds("first == items", {"first": nested(), "items": nested()})


# --- what it costs --------------------------------------------------------------------------

ITEMS = [{"id": n, "tags": ["a", "b"], "text": "x" * 50} for n in range(20_000)]
DOUBLED = "[@, @][]"
NESTED = "[@, @]"


@pytest.mark.alone
@pytest.mark.parametrize(
    "text",
    [
        "|".join([DOUBLED] * 85),
        "|".join(["items", *[DOUBLED] * 85]),
        "|".join(["items", *[DOUBLED] * 80, "[*].[*].[*]"]),
        "|".join([*[NESTED] * 85, "to_string(@)"]),
        "|".join([*[NESTED] * 85, "@ == [@[0], @[1]]"]),
        "|".join([*[NESTED] * 85, "contains(@, @)"]),
        "|".join([*[NESTED] * 50, *["[]"] * 40]),
        "|".join(["items[*].text", *[DOUBLED] * 85, "join(@[0], @)"]),
        "join(to_string(@), items[*].text)",
        "|".join(["items[*].id", *[DOUBLED] * 70, "sort(@)", "sort_by(@, &@)", "reverse(@)"]),
        "|".join(["long", *[DOUBLED] * 85, "to_string(@)"]),
        "|".join(["long", *[DOUBLED] * 85, "max_by(@, &@)"]),
        "|".join(["to_string(@)", *["to_string([@])"] * 60]),
        "|".join(["same", *["[@[0], @[1], @[0], @[1]]"] * 2, *[DOUBLED] * 80, "[?@ == @]"]),
        "[" + ",".join(["items[:]"] * 100) + "][][]",
        "[" + ",".join(["to_string(@)"] * 70) + "]",
        "items[*].[" + ",".join(["@"] * 480) + "][][]",
    ],
)
def test_no_condition_takes_more_than_seconds(text: str) -> None:
    """Far more memory than there is, and the age of the universe, without a bound."""
    data = {"items": ITEMS, "long": [10**4000], "same": ["y" * 10**6, "y" * 10**6]}
    text = f"({text}) == `1`"
    check(text)
    started = time.monotonic()
    with pytest.raises(UndecidableCondition, match="it takes more than 5000000 steps"):
        holds(text, data)
    assert time.monotonic() - started < 30


@pytest.mark.alone
@pytest.mark.parametrize(
    "text",
    [
        "length(items) == `200000`",
        "length(items[?starts_with(text, 'x')]) == `200000`",
        "sum(items[*].id) > `1`",
        "max_by(items, &id).id > `1`",
        "contains(items[*].id, `5`)",
    ],
)
def test_large_chunks_are_decided(text: str) -> None:
    assert holds(text, {"items": ITEMS * 10})


# --- of any condition -----------------------------------------------------------------------


def _trees(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||", "|"])
    functions = st.sampled_from(["length", "to_string", "type", "keys", "values", "reverse", "sum"])
    shapes = st.sampled_from(["[*].", "[].", "[?a].", ".*.", "[:2].", "[0].", "[-1] | "])
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, operators, inner),
        st.builds("{}({})".format, functions, inner),
        st.builds("({}){}a".format, inner, shapes),
        inner.map("!({})".format),
        inner.map("({}).a".format),
        pairs.map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        pairs.map(lambda pair: f"{{a: {pair[0]}, b: {pair[1]}}}"),
        pairs.map(lambda pair: f"contains({pair[0]}, {pair[1]})"),
        pairs.map(lambda pair: f"map(&({pair[0]}), to_array({pair[1]}))"),
    )


any_jmespath = st.recursive(
    st.sampled_from(["items", "first", "a", "@", "`1`", "`[1, [2]]`", "'a'", "`true`", "b.c"]),
    _trees,
    max_leaves=8,
)


@given(any_jmespath, st.dictionaries(st.sampled_from(["items", "first", "a", "b"]), values))
def test_a_condition_is_true_where_the_library_says_so(text: str, data: Any) -> None:
    try:
        expected: Any = jmespath.search(text, data)
    except (ValueError, TypeError, ArithmeticError):
        expected = "an error"
    try:
        check(text)
    except InvalidCondition:
        assert not isinstance(expected, bool)
        return
    try:
        given = holds(text, data)
    except UndecidableCondition:
        assert expected is not None
        assert not isinstance(expected, bool)
    else:
        assert given is (expected is True) or "contains" in text


def test_threads_may_decide_the_same_condition_at_once() -> None:
    given: list[bool] = []

    def decide() -> None:
        given.extend(holds("sum(items[*].id) == `199990000`", {"items": ITEMS}) for _ in range(3))

    threads = [threading.Thread(target=decide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given == [True] * 12
