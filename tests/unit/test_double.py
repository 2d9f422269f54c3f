"""`double`: the seeds' processor, with its failures and delays."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.ledger.records import ItemError
from fanfold.workers.processors.double import double
from tests.unit.attempted import an_attempt, attempted, failure_of, outcome_of, result_of


@given(st.lists(st.integers(), min_size=1))
def test_integers_of_any_size_are_doubled_exactly(items: list[int]) -> None:
    assert result_of(double, items) == [2 * item for item in items]


def test_fractions_stay_fractions() -> None:
    assert repr(result_of(double, [1.5, 3.0, -0.25, 2])) == "[3.0, 6.0, -0.5, 4]"


@pytest.mark.parametrize("item", ["5", "x", None, True, [1], {"a": 1}])
def test_what_is_no_number_fails_for_good(item: object) -> None:
    outcome = attempted(double, [item])
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.retryable) == ("ValidationError", False)


def test_lab_5_values_one_to_five_of_which_the_even_ones_fail() -> None:
    outcomes = [attempted(double, [value], fail_if_divisible_by=2) for value in range(1, 6)]
    assert [outcome.output.body for outcome in outcomes] == [b"[2]", b"", b"[6]", b"", b"[10]"]
    failures = [(o.failure.type, o.failure.message) for o in outcomes if o.failure is not None]
    assert failures == [
        ("ApplicationError", "Simulated failure for value 2"),
        ("ApplicationError", "Simulated failure for value 4"),
    ]


def test_a_failing_item_is_recorded_beside_those_that_succeeded() -> None:
    outcome = attempted(double, [1, 2, 3], fail_if_divisible_by=2)
    assert outcome.output.body == b"[2,null,6]"
    message = "Simulated failure for value 2"
    assert outcome.output.item_errors == (
        ItemError(item=1, type="ApplicationError", message=message),
    )
    assert outcome.items_failed_here == 1


def test_the_first_attempts_fail_as_often_as_is_asked() -> None:
    async def attempts() -> list[str]:
        outcomes = [
            await outcome_of(double, an_attempt([1], number=number), fail_attempts=2)
            for number in (1, 2, 3)
        ]
        return [outcome.failure.message if outcome.failure else "" for outcome in outcomes]

    expected = ["Simulated failure of attempt 1", "Simulated failure of attempt 2", ""]
    assert asyncio.run(attempts()) == expected


def test_random_failures_are_the_same_for_the_same_seed() -> None:
    def failed_items(seed: int) -> list[int]:
        outcome = attempted(double, list(range(200)), fail_probability=0.3, seed=seed)
        return [error.item for error in outcome.output.item_errors]

    assert failed_items(7) == failed_items(7)
    assert failed_items(7) != failed_items(8)
    assert 30 < len(failed_items(7)) < 90


def test_another_attempt_throws_the_dice_again() -> None:
    async def failed_items(number: int) -> list[int]:
        attempt = an_attempt(list(range(100)), number=number)
        outcome = await outcome_of(double, attempt, fail_probability=0.5)
        return [error.item for error in outcome.output.item_errors]

    assert asyncio.run(failed_items(1)) != asyncio.run(failed_items(2))


@pytest.mark.parametrize(("probability", "failed"), [(0.0, 0), (1.0, 3)])
def test_a_certain_failure_is_certain(probability: float, failed: int) -> None:
    outcome = attempted(double, [1, 2, 3], fail_probability=probability)
    assert len(outcome.output.item_errors) == failed


def test_a_random_failure_names_the_value() -> None:
    found = failure_of(double, [7], fail_probability=1)
    assert found == ("ApplicationError", "Random failure for value 7")


def test_a_delay_is_within_its_bounds() -> None:
    started = time.monotonic()
    assert result_of(double, [1], delay_seconds=[0.05, 0.1]) == [2]
    assert 0.05 <= time.monotonic() - started < 10


def test_a_result_too_large_for_json_fails() -> None:
    kind, message = failure_of(double, [1e308])
    assert kind == "InvalidResult"
    assert message.startswith("the result is a number too large")
