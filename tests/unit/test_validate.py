"""`validate`: every rule, what breaks it, and what becomes of an item that does."""

from typing import Any

import pytest

from fanfold.ledger.records import ItemError
from fanfold.processing import ValidationError
from fanfold.workers.processor import Processor
from fanfold.workers.processors.validate import validate
from tests.unit.attempted import attempted, failure_of, result_of

FIELD = "f"


def keeps(rule: dict[str, Any], item: Any) -> bool:
    """Whether the item keeps the rule; how it is said when not is looked at elsewhere."""
    outcome = attempted(validate, [item], rules=[rule])
    if outcome.failure is None:
        assert outcome.output.item_errors == ()
    return outcome.failure is None


@pytest.mark.parametrize(
    ("rule", "good", "bad", "message"),
    [
        ({"required": True}, ["x", 0, False, [], {}], ["", None], "is missing"),
        ({"type": "string"}, ["", "x"], [1, None, []], "is not of type string"),
        ({"type": "number"}, [1, -0.5, 10**30], ["1", True, None], "is not of type number"),
        ({"type": "integer"}, [1, 10**30], [1.5, 1.0, True, "1"], "is not of type integer"),
        ({"type": "boolean"}, [True, False], [0, 1, "true"], "is not of type boolean"),
        ({"type": "object"}, [{}], [[], "{}", None], "is not of type object"),
        ({"type": "array"}, [[], [1]], [{}, "[]", None], "is not of type array"),
        ({"type": "null"}, [None], [0, "", False], "is not of type null"),
        ({"minimum": 2}, [2, 2.5, 10**400], [1, 1.9, -(10**400)], "is below 2"),
        ({"maximum": 2}, [2, 1.5, -5], [3, 2.1, 10**400], "is above 2"),
        ({"minimum": 0}, [0], ["5", True, None, [1]], "is not a number"),
        ({"min_length": 2}, ["ab", [1, 2], {"a": 1, "b": 2}], ["a", "", [1], {}], "is shorter"),
        ({"max_length": 2}, ["", "ab", [1, 2]], ["abc", [1, 2, 3]], "is longer than 2"),
        ({"max_length": 1}, ["ü", "\U0001f9fe"], ["üü"], "is longer than 1"),
        ({"max_length": 2}, ["a"], [5, None, True], "has no length"),
        ({"pattern": "[A-Z]{3}"}, ["HEL"], ["HE", "HELS", "hel", "HEL\n", ""], "does not match"),
        ({"pattern": "a|bc"}, ["a", "bc"], ["ab", "abc"], "does not match the pattern"),
        ({"pattern": ".*"}, [""], [5, None, ["a"]], "is not a string"),
        ({"choices": ["a", 1, None]}, ["a", 1, None], ["b", 2, "1"], "is not one of the allowed"),
    ],
)
def test_each_rule_of_a_field_and_of_the_item_itself(
    rule: dict[str, Any], good: list[Any], bad: list[Any], message: str
) -> None:
    for value in good:
        assert keeps(rule, value), value
        assert keeps({**rule, "field": FIELD}, {FIELD: value}), value
    for value in bad:
        for item, about, name in ((value, {}, "item"), ({FIELD: value}, {"field": FIELD}, FIELD)):
            kind, told = failure_of(validate, [item], rules=[{**rule, **about}])
            assert kind == "ValidationError"
            assert told.startswith(f"{name} {message}"), (value, told)


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "string"},
        {"minimum": 1},
        {"min_length": 1},
        {"pattern": "x"},
        {"choices": ["x"]},
    ],
)
def test_a_field_that_need_not_be_there_is_checked_only_where_it_is(rule: dict[str, Any]) -> None:
    assert keeps({**rule, "field": FIELD}, {"other": 1})
    assert not keeps({**rule, "field": FIELD, "required": True}, {"other": 1})


def test_required_names_fields_in_short() -> None:
    items = [{"iata": "HEL", "country": "FI"}]
    assert result_of(validate, items, required=["iata", "country"]) == items
    for item in ({"country": "FI"}, {"iata": "", "country": "FI"}, {"iata": None, "country": "FI"}):
        found = failure_of(validate, [item], required=["iata", "country"])
        assert found == ("ValidationError", "iata is missing")


@pytest.mark.parametrize("item", ["text", 1, None, [1]])
def test_what_is_no_object_has_no_fields(item: object) -> None:
    for options in ({"required": ["a"]}, {"rules": [{"field": "a", "type": "string"}]}):
        found = failure_of(validate, [item], **options)
        assert found == ("ValidationError", "item is not an object")


def test_all_rules_count_and_the_first_broken_one_is_told() -> None:
    rules = [{"field": "a", "type": "integer"}, {"field": "a", "maximum": 5}]
    assert result_of(validate, [{"a": 5}], rules=rules) == [{"a": 5}]
    assert failure_of(validate, [{"a": 6}], rules=rules)[1] == "a is above 5"
    assert failure_of(validate, [{"a": "x"}], rules=rules)[1] == "a is not of type integer"


def test_without_rules_every_item_is_valid() -> None:
    assert result_of(validate, [None, "", {"a": []}]) == [None, "", {"a": []}]


def test_an_invalid_item_fails_its_chunk_and_is_not_tried_again() -> None:
    outcome = attempted(validate, [{"a": 1}, {}, {"a": 2}], required=["a"])
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.retryable) == ("ValidationError", False)
    assert outcome.items_failed_here == 1
    assert outcome.output.body == b'[{"a":1},null,{"a":2}]'


def test_an_invalid_item_is_left_out_and_counted_where_that_is_asked_for() -> None:
    outcome = attempted(validate, [{"a": 1}, {}, {"a": 2}], required=["a"], on_invalid="drop")
    assert outcome.failure is None
    assert outcome.output.body == b'[{"a":1},{"a":2}]'
    assert outcome.output.item_errors == (
        ItemError(item=1, type="ItemDropped", message="a is missing", is_dropped=True),
    )


def test_a_pattern_that_is_none_fails_the_items_and_says_why() -> None:
    kind, message = failure_of(validate, ["x"], rules=[{"pattern": "("}])
    assert kind == "ValidationError"
    assert message.startswith("the pattern is not a regular expression")


@pytest.mark.parametrize(
    "options",
    [
        {"rules": [{"field": "a", "surprise": 1}]},
        {"rules": [{"type": "text"}]},
        {"rules": [{"min_length": -1}]},
        {"on_invalid": "ignore"},
        {"required": "a"},
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Processor(validate).check_options(options)
