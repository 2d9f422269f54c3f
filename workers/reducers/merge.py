"""Joins arrays or objects."""

from typing import Any

from fanfold.processing import ValidationError, example


@example({"items": ["a", "b", "c"], "chunk_size": 2, "processor": "transform"})
class Merge:
    """Join arrays, or objects, into one in index order; of equal keys the last wins."""

    name = "merge"

    def __init__(self) -> None:
        """Start with nothing: the first result says which of the two it is."""
        self._merged: list[Any] | dict[str, Any] | None = None

    @property
    def keeps_all(self) -> bool:
        """See KeepsAll: of objects, equal keys make one."""
        return isinstance(self._merged, list)

    def add(self, index: int, result: object) -> None:
        """See Reducer.add; raises ValidationError where results are of different kinds."""
        if self._merged is None and isinstance(result, list | dict):
            self._merged = result.copy()
        elif isinstance(self._merged, list) and isinstance(result, list):
            self._merged += result
        elif isinstance(self._merged, dict) and isinstance(result, dict):
            self._merged |= result
        else:
            raise ValidationError(
                f"the result of chunk {index} cannot be merged with those before it: "
                "all must be arrays, or all objects"
            )

    def result(self) -> list[Any] | dict[str, Any]:
        """See Reducer.result."""
        return [] if self._merged is None else self._merged
