"""Rows of PostgreSQL whose columns are read by name as well as in order, like SQLite's."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import AsyncCursor

from fanfold.ledger.database import Row


def named_row(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], Row]:
    """Makes the rows of a cursor's answer: what psycopg calls a row factory."""
    result = cursor.pgresult
    # Not `cursor.description`: it makes an object for each column, for every answer.
    count = result.nfields if result is not None else 0
    return _row_with(*[result.fname(place) for place in range(count)])  # type: ignore[union-attr]


@functools.lru_cache(maxsize=500)
def _row_with(*names: bytes | None) -> Callable[[Sequence[Any]], Row]:
    """The class of the rows with these columns: the places are looked up in one step."""
    places: dict[str | int, int] = {place: place for place in range(len(names))}
    places |= {(name or b"").decode(): place for place, name in enumerate(names)}
    value_at = tuple.__getitem__

    class NamedRow(tuple[Any, ...]):
        __slots__ = ()

        def __getitem__(self, column: Any) -> Any:  # noqa: ANN401 - as a tuple has it
            return value_at(self, places[column])

    return NamedRow
