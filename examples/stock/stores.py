"""The stores: one at each airport of some countries.

Real are the airports, of the package airportsdata: codes, cities, countries, time zones. The
stock is made up: of the codes of store and article, so it is the same every time.
"""

import hashlib
from typing import Any

import airportsdata

COUNTRIES = {"BT", "EE", "GH", "JM", "JO", "LT", "LV", "RW", "TO", "TT", "WS"}
ARTICLES = (
    "chocolate",
    "coffee",
    "gin",
    "liquorice",
    "perfume",
    "playing cards",
    "tea",
    "umbrella",
)


def by_region_and_country() -> dict[str, dict[str, list[str]]]:
    """The codes of the stores by country, and these by region: the area of the time zone."""
    regions: dict[str, dict[str, list[str]]] = {}
    for code, airport in sorted(airportsdata.load("IATA").items(), key=_place):
        if airport["country"] in COUNTRIES:
            countries = regions.setdefault(_region(airport), {})
            countries.setdefault(airport["country"], []).append(code)
    return regions


def _place(store: tuple[str, airportsdata.Airport]) -> tuple[str, str, str]:
    code, airport = store
    return _region(airport), airport["country"], code


def _region(airport: airportsdata.Airport) -> str:
    return airport["tz"].partition("/")[0]


def stock_of(store: str) -> list[dict[str, Any]]:
    """The lines of a store's stock; now and then a count is missing."""
    return [_line(store, article) for article in ARTICLES]


def _line(store: str, article: str) -> dict[str, Any]:
    number = int.from_bytes(hashlib.sha256(f"{store}/{article}".encode()).digest()[:6])
    is_counted = number % 499 > 0
    return {
        "sku": article,
        "on_hand": number // 499 % 60 if is_counted else None,
        "sold_in_a_week": number // 29_940 % 25,
    }
