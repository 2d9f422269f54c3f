"""How what is wrong with items is said: where in the job, and in which line."""

from typing import NoReturn

from app.http.errors import Fault, InvalidJob, pointer


def refuse(code: str, place: str, message: str) -> NoReturn:
    """Refuse the data because of what is at this JSON pointer."""
    fault = Fault(place, message)
    raise InvalidJob(code, f"{place}: {message}", (fault,))


def refuse_limit(place: str, what: str, limit: int, setting: str, *, line: str = "") -> NoReturn:
    """Refuse the data because it is over a limit."""
    refuse("limit_exceeded", place, f"{line}at most {limit} {what} are allowed ({setting})")


def item(index: int, *path: str | int) -> str:
    """The JSON pointer to an item, or to something in it."""
    return pointer("items", index, *path)


ITEMS = pointer("items")
"""The JSON pointer to the items as a whole."""
