"""Collects results as they are."""

from typing import Any

from fanfold.processing import example


@example({"chunks": [[1], [3]], "processor": "double"})
class Collect:
    """List each surviving chunk's result with its index."""

    name = "collect"
    keeps_all = True

    def __init__(self) -> None:
        """Start with none."""
        self._collected: list[dict[str, Any]] = []

    def add(self, index: int, result: Any) -> None:  # noqa: ANN401 - any JSON value
        """See Reducer.add."""
        self._collected.append({"index": index, "result": result})

    def result(self) -> list[dict[str, Any]]:
        """See Reducer.result."""
        return self._collected
