"""`Prefer: wait=N` as RFC 7240 writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    [None, "", "respond-async", "wait", "wait=", "wait=-1", "wait=soon", "await=10", "long-wait=5"],
)
def test_without_seconds_nobody_waits(header: str | None) -> None:
    assert wait_seconds(header) is None


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    seconds = wait_seconds(header)
    assert seconds is None or 0 <= seconds <= MAX_WAIT_SECONDS
