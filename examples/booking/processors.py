"""Books with the agency, and cancels. Whatever is repeated, is done once."""

from http import HTTPStatus
from typing import Any, Literal

import httpx
from pydantic import BaseModel

from fanfold import ProcessorContext, RetryLater


class NoneLeft(Exception):
    """There is none to be had, so another attempt would not help."""


class Trip(BaseModel):
    """Who wants to go where."""

    traveller: str
    place: str


async def book(
    item: Trip, *, agency: str, kind: Literal["flight", "hotel", "car"], context: ProcessorContext
) -> dict[str, Any]:
    """Book one part of a trip.

    The booking's address is made of the idempotency key: an attempt after one that got no
    answer, or whose worker died, finds the booking there.
    """
    address = f"{agency}/bookings/{context.idempotency_key}"
    async with httpx.AsyncClient() as client:
        answer = await client.put(address, json={"kind": kind, **item.model_dump()})
    if answer.status_code == HTTPStatus.CONFLICT:
        raise NoneLeft(answer.json()["message"])
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        raise RetryLater(float(answer.headers["Retry-After"]), answer.json()["message"])
    answer.raise_for_status()
    booking: dict[str, Any] = answer.json()
    return booking


async def cancel(item: dict[str, Any], *, agency: str) -> list[str]:
    """Cancel what a chunk has booked: `item` is the chunk's `items` and its `result`."""
    addresses: list[str] = [booking["address"] for booking in item["result"]]
    async with httpx.AsyncClient() as client:
        for address in addresses:
            (await client.delete(f"{agency}{address}")).raise_for_status()
    return addresses
