"""`Prefer: wait=N` as RFC 7240 writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.http.errors import MalformedRequest
from fanfold.app.http.prefer import MAX_WAIT_SECONDS, wait_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ("wait=0", 0),
        ("Wait=10", 10),
        ("wait = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("respond-async,wait=10", 10),
        ("wait=10, respond-async", 10),
        ("return=minimal; foo=bar, wait=7", 7),
        ("wait=60", 60),
        ("wait=61", 60),
        ("wait=99999999999999999999", 60),
        ("wait=007", 7),
    ],
)
def test_the_seconds_are_found_and_at_most_a_minute(header: str, seconds: int) -> None:
    assert wait_seconds(header) == seconds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "respond-async",
        "await=10",
        "long-wait=5",
        'foo="wait=5"',
        'foo="a, wait=soon"',
        "foo; wait=soon",
    ],
)
def test_without_seconds_nobody_waits(header: str | None) -> None:
    assert wait_seconds(header) is None


@pytest.mark.parametrize("value", ["", "=", "=-1", "=soon", "=1.5", "=1e1", "= ", '=""', "=\u0665"])
@pytest.mark.parametrize("around", ["{}", "respond-async, {}", "{}, foo=bar", "{}; a=b"])
def test_a_wait_that_says_no_seconds_is_refused(value: str, around: str) -> None:
    with pytest.raises(MalformedRequest, match="wait needs a whole number of seconds"):
        wait_seconds(around.format(f"wait{value}"))


def test_of_several_the_first_counts() -> None:
    assert wait_seconds("wait=5, wait=soon") == 5


@given(st.text().filter(lambda text: "wait" not in text.lower()))
def test_other_preferences_are_passed_over_whatever_they_are(header: str) -> None:
    assert wait_seconds(header) is None


@given(st.text('wait=0123456789"\\;, '))
def test_a_wait_is_within_bounds_or_refused(header: str) -> None:
    try:
        seconds = wait_seconds(header)
    except MalformedRequest:
        return
    assert seconds is None or 0 <= seconds <= MAX_WAIT_SECONDS
