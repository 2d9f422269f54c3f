"""Refuses a job: says where in its body the fault is, and what is wrong there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

Path = tuple[str | int, ...]
"""The way to a place in a document: names of fields, and positions in arrays."""

MESSAGES_SHOWN: Final = 3
"""As many faults are told in one sentence; all of them are in the list of errors."""
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a body: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    message: str


class InvalidJob(Exception):
    """The body is JSON, but not a job that can be run."""

    def __init__(self, code: str, errors: Sequence[Fault]) -> None:
        """Keep the faults; `code` is one of docs/errors.md."""
        told = (f"{fault.pointer or 'the job'}: {fault.message}" for fault in errors)
        self.code = code
        self.detail = "; ".join(list(told)[:MESSAGES_SHOWN])
        self.errors = tuple(errors)
        super().__init__(self.detail)


def pointer(*path: str | int) -> str:
    """The JSON pointer to a place in a document; of a very long name, its beginning."""
    return "".join(f"/{shown(str(step)).replace('~', '~0').replace('/', '~1')}" for step in path)


def shown(name: str) -> str:
    """A name as an answer shows it, which is not to grow with what was sent."""
    name = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    # A lone surrogate cannot be sent back.
    return name.encode(errors="replace").decode()


ITEMS: Final = pointer("items")
"""The JSON pointer to the items as a whole."""


def item(index: int, *path: str | int) -> str:
    """The JSON pointer to an item, or to something in it."""
    return pointer("items", index, *path)


def refuse_all(code: str, faults: Sequence[Fault]) -> NoReturn:
    """Refuse the job because of these faults."""
    raise InvalidJob(code, faults) from None


def refuse(code: str, place: str, message: str) -> NoReturn:
    """Refuse the job because of what is at this JSON pointer."""
    refuse_all(code, [Fault(place, message)])


def refuse_limit(place: str, what: str, limit: float, setting: str, *, line: str = "") -> NoReturn:
    """Refuse the job because it is over a limit."""
    refuse("limit_exceeded", place, f"{line}at most {limit:.15g} {what} are allowed ({setting})")
