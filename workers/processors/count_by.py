"""Counts items by a field: the map step of a map-reduce."""

from collections import Counter
from typing import Any

from fanfold.contract import json_values
from fanfold.processing import ValidationError, example


@example(
    {
        "items": [{"country": "FI"}, {"country": "SE"}, {"country": "FI"}],
        "chunk_size": 2,
        "options": {"field": "country"},
        "reducer": "merge_counts",
    }
)
def count_by(chunk: list[Any], *, field: str | None = None) -> dict[str, int]:
    """Count the chunk's items by a field's value; without `field`, by the item itself.

    The result is an object of counts, whose keys are strings: other values are
    counted under their JSON text. Fold the chunks with `merge_counts`.
    """
    return dict(Counter(_key(item, field) for item in chunk))


def _key(item: object, field: str | None) -> str:
    value = item
    if field is not None:
        if not isinstance(item, dict) or field not in item:
            raise ValidationError(f"{field} is missing")
        value = item[field]
    return value if isinstance(value, str) else json_values.encode(value).decode()
