"""Runs docs/howto/write-a-condition.md: each of its conditions does what the page says."""

import json

import pytest

from fanfold.contract.conditions import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_STEPS,
    OF_STAGE,
    InvalidCondition,
    UndecidableCondition,
    check,
    holds,
)
from tests.e2e.pages import HOW_TO, Page

PAGE = Page("write-a-condition.md")
ITEMS = json.loads(PAGE.files["chunk"])
CHUNK = {"items": ITEMS, "first": ITEMS[0]}


def lines(place: str) -> list[str]:
    return [
        line for block in PAGE.blocks if block.place == place for line in block.text.splitlines()
    ]


def pairs(place: str) -> list[tuple[str, str]]:
    """Conditions, each with what is said of it."""
    found = lines(place)
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("condition", lines("true"))
def test_it_is_true(condition: str) -> None:
    check(condition, OF_STAGE)
    assert holds(condition, CHUNK)


@pytest.mark.parametrize("condition", lines("untrue"))
def test_it_is_not_true(condition: str) -> None:
    check(condition, OF_STAGE)
    assert not holds(condition, CHUNK)


@pytest.mark.parametrize(("condition", "said"), pairs("refused"))
def test_it_is_refused(condition: str, said: str) -> None:
    with pytest.raises(InvalidCondition) as refused:
        check(condition, OF_STAGE)
    assert str(refused.value) == said


@pytest.mark.parametrize(("condition", "said"), pairs("undecided"))
def test_it_cannot_be_decided(condition: str, said: str) -> None:
    check(condition, OF_STAGE)
    with pytest.raises(UndecidableCondition) as undecided:
        holds(condition, CHUNK)
    assert str(undecided.value) == said


def test_the_limits_are_those_of_the_code() -> None:
    text = (HOW_TO / "write-a-condition.md").read_text()
    for limit in (MAX_CHARACTERS, MAX_DEPTH, MAX_STEPS):
        assert f" {limit:,}" in text
