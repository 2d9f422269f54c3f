"""Reading conditions: what is none is told with its place, before there is any data."""

import sys
import warnings

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
    check,
    holds,
)

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


@given(any_text)
def test_any_text_is_a_condition_or_refused_with_a_place_in_it(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = column_of_fault(text)
    if column is None:
        jmespath.compile(text)
    else:
        assert 1 <= column <= len(text) + 1
