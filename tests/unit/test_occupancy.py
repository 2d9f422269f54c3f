import pytest

from benchmarks.occupancy import Span, occupancy_of


def in_turns(width: int, rounds: int, seconds: float, pause: float = 0.0) -> list[Span]:
    """So many at a time, over and over, with a pause in between."""
    return [
        (number * (seconds + pause), number * (seconds + pause) + seconds)
        for number in range(rounds)
        for _ in range(width)
    ]


def test_a_window_that_is_always_full_is_full_on_the_average() -> None:
    seen = occupancy_of(in_turns(width=4, rounds=50, seconds=1.0))

    assert seen.mean == pytest.approx(4.0)
    assert seen.most == 4


def test_pauses_lower_the_average_and_not_the_most() -> None:
    seen = occupancy_of(in_turns(width=4, rounds=200, seconds=0.5, pause=0.5))

    assert seen.mean == pytest.approx(2.0, rel=0.02)
    assert seen.most == 4


def test_what_runs_on_after_the_last_start_is_not_in_the_average() -> None:
    spans = in_turns(width=4, rounds=50, seconds=1.0)
    straggler = (49.0, 500.0)

    assert occupancy_of([*spans, straggler]).mean == pytest.approx(4.0)


def test_what_begins_while_another_has_not_ended_is_beside_it() -> None:
    assert occupancy_of([(0.0, 1.001), (1.0, 2.0)]).most == 2
    assert occupancy_of([(0.0, 1.0), (1.0, 2.0)]).most == 1
