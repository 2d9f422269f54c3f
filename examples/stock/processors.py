"""What is done with the stock of a store, and how stores add up."""

from collections import Counter
from typing import Annotated, Any

from pydantic import BaseModel, Field

Count = Annotated[int, Field(ge=0)]


class Line(BaseModel):
    """An article in a store."""

    sku: str
    on_hand: Count
    sold_in_a_week: Count


def take_stock(chunk: list[Line], *, weeks: Annotated[int, Field(ge=1)] = 2) -> dict[str, Any]:
    """What a store has, and what it has to order to have enough for so many weeks."""
    missing = {line.sku: weeks * line.sold_in_a_week - line.on_hand for line in chunk}
    return {
        "units": sum(line.on_hand for line in chunk),
        "to_order": {sku: count for sku, count in missing.items() if count > 0},
    }


class StockTotals:
    """Adds stores up.

    What it gives is what it takes, so it adds up countries and regions as well: one reducer for
    every level of the tree.
    """

    name = "stock_totals"

    def __init__(self) -> None:
        """Start with nothing."""
        self._units = 0
        self._to_order: Counter[str] = Counter()

    def add(self, index: int, result: dict[str, Any]) -> None:  # noqa: ARG002 - any order will do
        """Take a store, or what was added up of several."""
        self._units += result["units"]
        self._to_order.update(result["to_order"])

    def result(self) -> dict[str, Any]:
        """What all of them have, and have to order."""
        return {"units": self._units, "to_order": dict(sorted(self._to_order.items()))}
