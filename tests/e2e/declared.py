"""Processors that declare what they take, in many ways, none with an example of its own."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Currency(Enum):
    EUR = "EUR"
    SEK = "SEK"


class Line(BaseModel):
    sku: Annotated[str, Field(min_length=2)]
    count: Annotated[int, Field(ge=1, le=99)]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Z]{3}\d+$", examples=["ABC1"])]
    net: float
    currency: Currency
    ordered: date
    lines: Annotated[list[Line], Field(min_length=1)]
    note: str | None = None


class Coded(BaseModel):
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


def ship(item: Order, *, carrier: Literal["post", "bike"], insured: bool = False) -> str:
    """Ship an order."""
    return f"{item.id} by {carrier}{' insured' * insured}, of {item.ordered.isoformat()}"


def weigh(chunk: list[Order], *, grams: Annotated[int, Field(gt=0)]) -> int:
    """Weigh the orders of a chunk."""
    return grams * sum(line.count for order in chunk for line in order.lines)


def due(item: datetime) -> str:
    return item.date().isoformat()


def rate(item: Annotated[float, Field(gt=0, lt=0.5)], *, by: Decimal) -> float:
    return item * float(by)


async def perhaps(item: int | None) -> bool:
    return item is None


def named(item: dict[str, int]) -> int:
    return sum(item.values())


def anything(item: Any, *, label: str) -> list[Any]:
    return [label, item]


def sizes(chunk: list[str]) -> int:
    return sum(map(len, chunk))


def coded(item: Coded) -> str:
    return item.code


FUNCTIONS = (ship, weigh, due, rate, perhaps, named, anything, sizes, coded)
NAMES = ",".join(f"{__name__}:{function.__name__}" for function in FUNCTIONS)
