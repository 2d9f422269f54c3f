"""Where user code failed: the frames of its traceback that say something to whoever wrote it."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from traceback import StackSummary, TracebackException

import pydantic

from fanfold.contract.failures import printable

MAX_CHARACTERS = 4000
MAX_FRAMES = 20
_FRAMES_TRIED = (MAX_FRAMES, 15, 10, 7, 5, 3, 2, 1)
_MAX_CHAIN = 10
# A traceback says where. What was wrong is the failure's message, which is kept apart.
_MAX_WORDS = 1000
_MAX_LINE = 300
# As many as Python itself shows of an ExceptionGroup.
_MAX_GROUPED = 15

_HEADER = "Traceback (most recent call last):\n"
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
_EARLIER_LEFT_OUT = "(what led to this is left out)\n"

# What calls user code: Fanfold, and what it calls it through.
_ABOVE_USER_CODE = (
    str(Path(__file__).parents[1]) + os.sep,
    *(
        str(Path(str(package.__file__)).parent) + os.sep
        for package in (asyncio, concurrent.futures, pydantic)
    ),
    str(threading.__file__),
)


def user_frames(error: BaseException) -> str:
    """The traceback of an error, from the first frame of the user's code on.

    With what caused it, without local variables, in at most `MAX_CHARACTERS` that every
    ledger can store. Of many frames the innermost `MAX_FRAMES` are kept, of a longer text
    fewer. Empty where no user code ran: an item that does not fit its annotation, say.
    Raises nothing, whatever the error's own class does.
    """
    try:
        if _is_surely_ours(error):
            return ""
        found = TracebackException.from_exception(error, lookup_lines=False)
        each_has_frames = [_cut_to_user_code(each) for each in _all_of(found)]
        if not any(each_has_frames):
            return ""
        chain = _chain(found)
        parts: list[str] = []
        for frames in _FRAMES_TRIED:
            parts = [_described(link, frames) + words for link, words in chain[-_MAX_CHAIN:]]
            if sum(map(len, parts)) <= MAX_CHARACTERS - len(_EARLIER_LEFT_OUT):
                break
        return _last_of(parts, is_cut=len(chain) > _MAX_CHAIN)
    except Exception:  # noqa: BLE001 - user classes may raise anything when they are looked at
        return ""


def _is_surely_ours(error: BaseException) -> bool:
    """Whether no user code ran: a short look, since built-in processors may fail often."""
    if error.__cause__ is not None or error.__context__ is not None:
        return False
    if isinstance(error, BaseExceptionGroup):
        return False
    frame = error.__traceback__
    while frame is not None:
        if not frame.tb_frame.f_code.co_filename.startswith(_ABOVE_USER_CODE):
            return False
        frame = frame.tb_next
    return True


def _chain(last: TracebackException) -> list[tuple[TracebackException, str]]:
    """An error after those that led to it, each with the words that join it to the next."""
    links = [(last, "")]
    while True:
        error, _ = links[-1]
        if error.__cause__ is not None:
            links.append((error.__cause__, _CAUSE))
        elif error.__context__ is not None and not error.__suppress_context__:
            links.append((error.__context__, _CONTEXT))
        else:
            return links[::-1]


def _all_of(last: TracebackException) -> Iterator[TracebackException]:
    """The errors of a chain, and those that they group."""
    for error, _ in _chain(last):
        yield error
        for grouped in error.exceptions or ():
            yield from _all_of(grouped)


def _cut_to_user_code(error: TracebackException) -> bool:
    """Leave the frames above the user's first one out; whether there is one."""
    frames = list(error.stack)
    while frames and frames[0].filename.startswith(_ABOVE_USER_CODE):
        del frames[0]
    error.stack = StackSummary.from_list(frames)
    return bool(frames)


def _described(error: TracebackException, most_frames: int) -> str:
    """One error, with the innermost of its frames, and what it groups."""
    kept = StackSummary.from_list(error.stack[-most_frames:])
    left_out = len(error.stack) - len(kept)
    lines = [_HEADER] if kept else []
    if left_out:
        lines.append(f"  ... {left_out} more frame{'s' if left_out > 1 else ''} ...\n")
    text = _narrow("".join([*lines, *kept.format()]))
    text += _shortened(_narrow("".join(error.format_exception_only())), _MAX_WORDS)
    grouped = error.exceptions or []
    for number, each in enumerate(grouped[:_MAX_GROUPED], start=1):
        inner = "".join(_described(link, most_frames) + words for link, words in _chain(each))
        text += f"  {number} of {len(grouped)}:\n"
        text += "".join(f"    {line}" for line in inner.splitlines(keepends=True))
    return text


def _last_of(parts: list[str], *, is_cut: bool) -> str:
    """As many errors of a chain as there is room for, the last ones."""
    *earlier, last = parts
    room = MAX_CHARACTERS - len(_EARLIER_LEFT_OUT)
    text = _shortened(last, room)
    while earlier and len(earlier[-1]) + len(text) <= room:
        text = earlier.pop() + text
    return _EARLIER_LEFT_OUT + text if earlier or is_cut else text


def _narrow(text: str) -> str:
    """The text, storable, without overlong lines."""
    return "".join(
        printable(line.rstrip("\n"), max_characters=_MAX_LINE) + "\n" for line in text.splitlines()
    )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2] + "…\n"
