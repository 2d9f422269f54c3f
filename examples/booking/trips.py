"""The trips, as one job: each of them a sequence of three bookings, with what undoes them."""

from typing import Any

import airportsdata

HOME = "HEL"
TRIPS = {"Ada": "KEF", "Alan": "LIS", "Emmy": "OSL", "Grace": "NRT", "Kurt": "CPH"}
KINDS = ("flight", "hotel", "car")


def city_of(place: str) -> str:
    """The city of an airport, by the airport's code."""
    return airportsdata.load("IATA")[place]["city"]


def trips_job(agency: str) -> dict[str, Any]:
    """All trips, side by side; the agency is the one at this URL."""
    return {
        "name": f"trips from {city_of(HOME)}",
        "processor": "book",
        "retry": {
            "max_attempts": 10,
            "initial_interval_seconds": 0.2,
            "max_interval_seconds": 5,
            "non_retryable": ["NoneLeft"],
        },
        "reducer": "collect",
        "jobs": {traveller: _trip(agency, traveller, place) for traveller, place in TRIPS.items()},
    }


def _trip(agency: str, traveller: str, place: str) -> dict[str, Any]:
    # What has been booked must be cancelled, however long that takes: it is tried for hours.
    undo = {
        "processor": "cancel",
        "options": {"agency": agency},
        "retry": {
            "max_attempts": 100,
            "initial_interval_seconds": 0.2,
            "max_interval_seconds": 300,
        },
    }
    return {
        "order": "sequence",
        "items": [{"traveller": traveller, "place": place}],
        "jobs": {
            kind: {"options": {"agency": agency, "kind": kind}, "compensate": undo}
            for kind in KINDS
        },
    }
