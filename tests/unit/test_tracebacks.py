"""A traceback shows the user's frames, fits everywhere, and no error can break it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec
from fanfold.processing import ValidationError
from fanfold.workers import execution, item_run, tracebacks, user_errors
from fanfold.workers.item_run import MAX_TRACEBACKS
from fanfold.workers.processor import Processor
from fanfold.workers.threads import run_in_thread
from fanfold.workers.tracebacks import MAX_CHARACTERS, user_frames
from tests.unit.attempted import an_attempt, outcome_of

SECRET = "hunter2"


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("raised nothing")


def framed(function: Callable[[], Any]) -> str:
    return user_frames(caught(function))


def plain() -> None:
    password = SECRET
    raise ValueError(f"boom of {len(password)}")


def chained() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("rate") from error


def while_handling() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("rate")  # noqa: B904 - the point


def suppressed() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("rate") from None


def even(levels: int) -> None:
    odd(levels)


def odd(levels: int) -> None:
    if levels > 1:
        return even(levels - 1)
    return plain()


def test_a_plain_error_shows_its_line_and_no_variable() -> None:
    text = framed(plain)

    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: boom of 7\n")
    assert "in plain\n" in text
    assert "test_tracebacks.py" in text
    assert 'raise ValueError(f"boom of {len(password)}")' in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("function", "joined_by"),
    [
        (chained, "was the direct cause of"),
        (while_handling, "During handling of the above exception"),
    ],
)
def test_what_led_to_an_error_comes_first(function: Callable[[], Any], joined_by: str) -> None:
    first, found, last = framed(function).partition(joined_by)

    assert found
    assert "ValueError: boom" in first
    assert "in plain\n" in first
    assert last.endswith("KeyError: 'rate'\n")


def test_what_was_suppressed_is_left_out() -> None:
    assert "boom" not in framed(suppressed)


def test_of_many_frames_the_last_are_kept_and_the_others_counted() -> None:
    text = framed(lambda: even(400))

    # caught, the lambda, even and odd by turns, plain
    assert f"  ... {2 + 2 * 400 + 1 - text.count('  File ')} more frames ...\n" in text
    assert text.count("  File ") <= tracebacks.MAX_FRAMES
    assert "in plain\n" in text
    assert text.endswith("ValueError: boom of 7\n")
    assert len(text) <= MAX_CHARACTERS


def test_a_recursion_without_end_is_shown_in_short() -> None:
    def endless() -> None:
        endless()

    text = framed(endless)

    assert "in endless\n" in text
    assert "more frames ...\n" in text
    assert "RecursionError: maximum recursion depth exceeded" in text


@pytest.mark.parametrize("raised", [RuntimeError("no words"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_without_words_is_shown_all_the_same(raised: BaseException) -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise raised

    def function() -> None:
        raise BrokenError

    text = framed(function)

    assert "in function\n" in text
    assert "BrokenError: <exception str() failed>" in text


def test_an_error_that_cannot_be_looked_at_gives_nothing() -> None:
    class BrokenError(Exception):
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]
            raise RuntimeError("look away")

    def function() -> None:
        raise BrokenError

    assert framed(function) == ""


def test_a_syntax_error_shows_the_place() -> None:
    text = framed(lambda: compile("x = = 1", "rules.py", "exec"))

    assert 'File "rules.py", line 1' in text
    assert "x = = 1" in text
    assert text.endswith("SyntaxError: invalid syntax\n")


def grouped(errors: int = 2) -> None:
    async def boom(number: int) -> None:
        if number == errors:
            chained()
        raise ValueError(f"boom {number}")

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1, errors + 1):
                group.create_task(boom(number))

    asyncio.run(all_of_them())


def test_a_group_shows_each_of_its_errors_with_its_frames() -> None:
    text = framed(grouped)

    assert "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)" in text
    assert "  1 of 2:\n    Traceback (most recent call last):\n" in text
    assert "    ValueError: boom 1\n" in text
    assert "  2 of 2:\n" in text
    assert "    KeyError: 'rate'\n" in text
    assert text.count("in boom\n") == 2


def test_a_large_group_is_bounded_and_keeps_its_head() -> None:
    text = framed(lambda: grouped(500))

    assert len(text) <= MAX_CHARACTERS
    assert "(500 sub-exceptions)" in text
    assert "ValueError: boom 1\n" in text


def test_an_error_in_a_thread_starts_with_the_user_s_frame() -> None:
    async def run() -> None:
        await run_in_thread(plain, timeout_seconds=30)

    text = framed(lambda: asyncio.run(run()))
    inner = text[text.index("in run\n") :]
    assert "in plain\n" in inner

    in_worker = user_frames(caught(lambda: asyncio.run(run_in_thread(plain, timeout_seconds=30))))
    assert "in plain\n" in in_worker


def seen_by_a_worker(
    function: Callable[..., Any], value: Any, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The traceback at the very place where a worker makes a failure of an error."""
    seen: list[str] = []
    failure_of = user_errors.failure_of

    def spy(error: BaseException, retry: RetrySpec, **given: Any) -> Any:
        seen.append(user_frames(error))
        return failure_of(error, retry, **given)

    for module in (execution, item_run):
        monkeypatch.setattr(module, "failure_of", spy)
    outcome = asyncio.run(outcome_of(function, an_attempt(value)))
    assert outcome.failure is not None
    return seen[0]


def in_item(item: int) -> None:
    if item:
        plain()


async def in_item_async(item: int) -> None:
    await asyncio.sleep(0)
    if item:
        plain()


def in_chunk(chunk: list[int]) -> None:
    if chunk:
        plain()


async def in_chunk_async(chunk: list[int]) -> None:
    await asyncio.sleep(0)
    if chunk:
        plain()


@pytest.mark.parametrize("function", [in_item, in_item_async, in_chunk, in_chunk_async])
def test_in_a_worker_no_frame_of_fanfold_is_shown(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = seen_by_a_worker(function, [1], monkeypatch).splitlines()

    frames = [line.rpartition(" in ")[2] for line in lines if line.startswith("  File ")]
    assert frames == [function.__name__, "plain"]


def leaving(chunk: list[int]) -> None:
    raise SystemExit(len(chunk))


def test_code_that_ends_its_process_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    text = seen_by_a_worker(leaving, [1], monkeypatch)

    assert "in leaving\n" in text
    assert text.endswith("RuntimeError: SystemExit: 1\n")


def test_an_item_that_does_not_fit_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen_by_a_worker(in_item, ["no number"], monkeypatch) == ""
    assert isinstance(caught(lambda: Processor(in_item).check_data("x")), ValidationError)


def test_a_long_message_leaves_room_for_the_frames() -> None:
    def function() -> None:
        raise ValueError("x" * 10_000 + "\n" + "line\n" * 10_000)

    text = framed(function)

    assert len(text) <= MAX_CHARACTERS
    assert "in function\n" in text
    assert "ValueError: xxx" in text


@pytest.mark.parametrize("words", ["", "long " * 150])
def test_a_long_chain_keeps_its_end(words: str) -> None:
    def link(number: int) -> None:
        try:
            if number:
                link(number - 1)
        finally:
            raise ValueError(f"link {number} " + words)

    text = framed(lambda: link(200))

    assert len(text) <= MAX_CHARACTERS
    assert text.startswith("(what led to this is left out)\n")
    assert "ValueError: link 200 " in text
    assert "in link\n" in text


def test_the_text_can_be_stored() -> None:
    def function() -> None:
        raise ValueError("nul \x00, surrogate \ud800")

    text = framed(function)

    assert text.endswith("ValueError: nul \\x00, surrogate \\ud800\n")
    assert text.encode()


@pytest.mark.parametrize("function", [in_item, in_item_async])
def test_the_first_items_that_failed_keep_where(function: Callable[..., Any]) -> None:
    attempt = an_attempt([0, *[1] * 9])
    outcome = asyncio.run(outcome_of(function, attempt, keeps_tracebacks=True))
    kept = ["in plain\n" in error.traceback for error in outcome.output.item_errors]
    assert kept == [True] * MAX_TRACEBACKS + [False] * (9 - MAX_TRACEBACKS)
    assert outcome.failure is not None
    assert outcome.failure.traceback == outcome.output.item_errors[0].traceback


@pytest.mark.parametrize("function", [in_item, in_chunk])
def test_where_user_code_failed_is_not_kept_where_it_must_not_be(
    function: Callable[..., Any],
) -> None:
    outcome = asyncio.run(outcome_of(function, an_attempt([1]), keeps_tracebacks=False))
    assert outcome.failure is not None
    assert outcome.failure.traceback == ""
    assert [error.traceback for error in outcome.output.item_errors if error.traceback] == []
