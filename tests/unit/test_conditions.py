"""Conditions: what is none is told with its place, and what is one holds, or does not, in time."""

import sys
import threading
import time
import warnings
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.conditions import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    OF_STAGE,
    Fields,
    InvalidCondition,
    UndecidableCondition,
    check,
    holds,
)
from tests.unit.any_json import values

CHUNK = {
    "items": [{"country": "FI", "amount": 3}, {"country": "SE", "amount": None}],
    "first": {"country": "FI", "amount": 3},
}
SEQUENCE: Fields = {
    "previous": {"state": None, "result": None, "success_rate": None, "items": {"failed": None}},
    "jobs": None,
}


def fault(text: str, over: Fields | None = OF_STAGE) -> str:
    """What `check` says of a text that is no condition."""
    with pytest.raises(InvalidCondition) as refused:
        check(text, over)
    return str(refused.value)


def column_of_fault(text: str) -> int | None:
    """Where `check` finds that a text is no condition; None where it is one."""
    try:
        check(text)
    except InvalidCondition as error:
        return error.column
    return None


# --- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "first.country == 'FI'",
        "length(items) > `1`",
        "items[?amount > `2`] | length(@) == `1`",
        "contains(['FI', 'SE'], first.country)",
        "first.amount && first.country != 'NO'",
        "!(first.amount < `3` || first.country == 'SE')",
        "sort_by(items, &country)[0].amount == `3`",
        "items[*].{c: country, a: amount} | [0].c == 'FI'",
        "@.first == items[0]",
        "first.*[] | contains(@, 'FI')",
        "items[0:1:1][].country | [0] == 'FI'",
        "(length)(items) == `2`",
        "`true`",
        "\"first\".country == 'FI'",
        "not_null(first.vat, first.country) == 'FI'",
        "merge(first, {vat: first.country}).vat == 'FI'",
    ],
)
def test_a_condition_that_is_read_is_decided(text: str) -> None:
    check(text, OF_STAGE)
    assert holds(text, CHUNK)
    assert not holds(f"!({text})", CHUNK)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column 1: there is no text"),
        (" \n", "column 1: there is no text"),
        ("length(items", "column 13: the text ends before it is whole"),
        ("items[1:", "column 9: the text ends before it is whole"),
        ("first.a > 0.9", "column 11: a number stands between backticks: `0.9`"),
        ("first.a > -3", "column 11: a number stands between backticks: `-3`"),
        ("first.a = `1`", "column 9: write == for ="),
        ("first.a and items", "column 9: write && for and"),
        ("first.a & items", "column 9: write && for &"),
        ("first.a; items", "column 8: ';' is no part of JMESPath"),
        ("first.a items", "column 9: 'items' cannot stand here"),
        ("first 'a'", "column 7: a value cannot stand here"),
        ("first == 'a", "column 10: this quote is never closed"),
        ("first == `1", "column 10: this backtick is never closed"),
        ('first."a\\q" == `1`', "column 7: between double quotes has to be a JSON string"),
        ('"length"(items)', "column 1: the name of a function stands without quotes"),
        ("items[::0] == `1`", "column 9: the step of a slice is not 0"),
        ("items[`1`] == `1`", "column 7: a value cannot stand here"),
        ("'`' == `a b`", "column 8: between backticks has to be JSON"),
        ("first == `foo`", "text stands in single quotes: 'foo'"),
        ("first == `NaN`", "NaN is not a JSON number"),
        ("first == `\ud800`", "column 10: between backticks has to be JSON"),
    ],
)
def test_what_is_no_jmespath_is_refused_with_its_place(text: str, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lenght(items) > `1`", "column 1: there is no function 'lenght'; did you mean length?"),
        ("first.x && zip(items)", "column 12: there is no function 'zip'; the functions are abs,"),
        ("items[?a(b)].c(d)", "column 8: there is no function 'a'"),
        ("length() > `1`", "column 1: length() takes 1 argument, and is given 0"),
        ("`1` < length(items, first)", "column 7: length() takes 1 argument, and is given 2"),
        ("not_null() == `1`", "column 1: not_null() takes at least 1 argument, and is given 0"),
        ("max_by(items, amount)", "argument 2 of max_by() is an expression"),
        ("length(&items) > `1`", "argument 1 of length() is no expression: it stands without &"),
        ("&first == first", "column 1: & stands before an argument of a function"),
        ("map(&a, items)[0] == &b", "column 22: & stands before an argument of a function"),
    ],
)
def test_functions_are_checked_before_there_is_data(text: str, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item[0].a == `1`", "column 1: there is no field 'item' here; did you mean items?"),
        ("previous == `1`", "column 1: there is no field 'previous' here; the fields are"),
        ("items[?a] | @ == first", ""),
        ("first == true", "column 10: true stands between backticks: `true`"),
        ('first.a == "yes"', "text stands in single ones: 'yes'"),
        ("{a: first, b: frist}.a == `1`", "column 15: there is no field 'frist' here"),
        ("@.itmes[0] == `1`", "column 3: there is no field 'itmes' here; did you mean items?"),
        ("items[?itmes == first].frist | [0] == `1`", ""),
        ("sort_by(items, &country)[0] == firts", "column 32: there is no field 'firts' here"),
    ],
)
def test_a_field_that_never_is_there_is_told_from_one_that_may_be(text: str, said: str) -> None:
    if said:
        assert said in fault(text)
        check(text)  # where nothing is known of the data
    else:
        check(text, OF_STAGE)


def test_fields_of_fields_are_known_where_they_are_given() -> None:
    check("previous.result.anything == `1` && jobs.any.state == 'failed'", SEQUENCE)
    near = "column 10: there is no field 'sucess_rate' here; did you mean success_rate?"
    assert near in fault("previous.sucess_rate > `0.9`", SEQUENCE)
    assert "there is no field 'fail'" in fault("previous.items.fail == `0`", SEQUENCE)
    assert "there is no field 'item'" in fault("previous | item.failed == `0`", SEQUENCE)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("items[?amount > `1`]", "an array"),
        ("items[*].amount", "an array"),
        ("items[]", "an array"),
        ("[first]", "an array"),
        ("first.*", "an array"),
        ("{a: first}", "an object"),
        ("first | length(@)", "a number"),
        ("first.to_string(@)", "a string"),
        ("`1`", "a number"),
        ("'yes'", "a string"),
        ("`null`", "null"),
    ],
)
def test_what_is_never_true_is_no_condition(text: str, kind: str) -> None:
    assert f"it gives {kind}, where a condition gives true or false" in fault(text)


def test_the_length_is_limited() -> None:
    longest = f"first == '{'x' * (MAX_CHARACTERS - 11)}'"
    check(longest)
    assert f"at most {MAX_CHARACTERS} characters, this has 1001" in fault(longest + " ")


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("(", ")"),
        ("!", ""),
        ("a[*].", ""),
        ("*.", ""),
        ("a||", ""),
        ("[?", "]"),
        ("{a:", "}"),
        ("not_null(", ")"),
        ("[", "]"),
        ("a[].", ""),
        ("a[:].", ""),
        ("a[?b].", ""),
        ("[0]|", ""),
    ],
)
def test_no_nesting_exhausts_the_stack(opening: str, closing: str) -> None:
    """Neither that of whoever checks, nor that of whoever decides, which may be deep already."""

    def decided(levels: int) -> bool:
        text = f"({opening * levels}a{closing * levels}) == `1`"
        check(text)
        return holds(text, {"a": 2})

    def deep_in_the_stack(frames: int, levels: int) -> bool:
        return deep_in_the_stack(frames - 1, levels) if frames else decided(levels)

    assert sys.getrecursionlimit() == 1000
    deep_in_the_stack(300, MAX_DEPTH // 2 - 5)
    with pytest.raises(InvalidCondition, match=rf"more than {MAX_DEPTH} levels|characters"):
        decided(400)


# --- what is decided ------------------------------------------------------------------------


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

_TOKENS = st.sampled_from(
    [
        *("items", "first", "a", "length", "sort_by", "map", "sum", "not_null", "contains"),
        *("(", ")", "[", "]", "[]", "[?", "[*]", "{", "}", ".", ",", ":", "*", "@", "|", "||"),
        *("&", "&&", "!", "==", "!=", "<", ">=", "`1`", "`[1]`", "`{", "'a'", '"a"', "0", "-1"),
        *("=", "'", "`", '"', "\\", "#", " ", "\u00e9", "\x00", "`\\``", "'\\''", "nan", "$"),
    ]
)
any_text = st.one_of(st.lists(_TOKENS, max_size=25).map("".join), st.text(max_size=30))


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


@given(any_text)
def test_any_text_is_a_condition_or_refused_with_a_place_in_it(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = column_of_fault(text)
    if column is None:
        jmespath.compile(text)
    else:
        assert 1 <= column <= len(text) + 1


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
