"""Refuses a job: says where in its body the fault is, and what is wrong there."""

from collections.abc import Sequence
from typing import NoReturn

from fanfold.app.http.errors import Fault, InvalidJob, pointer

MESSAGES_SHOWN = 3
"""As many faults are told in one sentence; all of them are in the list of errors."""

ITEMS = pointer("items")
"""The JSON pointer to the items as a whole."""


def item(index: int, *path: str | int) -> str:
    """The JSON pointer to an item, or to something in it."""
    return pointer("items", index, *path)


def refuse_all(code: str, faults: Sequence[Fault]) -> NoReturn:
    """Refuse the job because of these faults."""
    told = (f"{fault.pointer or 'the job'}: {fault.message}" for fault in faults[:MESSAGES_SHOWN])
    raise InvalidJob(code, "; ".join(told), tuple(faults)) from None


def refuse(code: str, place: str, message: str) -> NoReturn:
    """Refuse the job because of what is at this JSON pointer."""
    refuse_all(code, [Fault(place, message)])


def refuse_limit(place: str, what: str, limit: float, setting: str, *, line: str = "") -> NoReturn:
    """Refuse the job because it is over a limit."""
    refuse("limit_exceeded", place, f"{line}at most {limit:.15g} {what} are allowed ({setting})")
