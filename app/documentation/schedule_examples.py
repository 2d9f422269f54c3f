"""Examples of schedules in the API's documentation: requests that run as they are, and answers."""

from typing import Any

_JOB: dict[str, Any] = {
    "name": "airports by country",
    "items": [
        {"iata": "HEL", "country": "FI"},
        {"iata": "ARN", "country": "SE"},
        {"iata": "OUL", "country": "FI"},
    ],
    "processor": "count_by",
    "options": {"field": "country"},
    "reducer": "merge_counts",
}

REQUESTS: dict[str, Any] = {
    "nightly": {
        "summary": "Each night at three, where that is in Helsinki",
        "value": {
            "name": "nightly",
            "cron": "0 3 * * *",
            "time_zone": "Europe/Helsinki",
            "job": _JOB,
        },
    },
    "hourly": {
        "summary": "Each hour, one job after another",
        "value": {
            "name": "hourly",
            "every_seconds": 3600,
            "overlap": "buffer_one",
            "note": "asked for by the data team",
            "job": _JOB,
        },
    },
}

_SUMMARY: dict[str, Any] = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "every_seconds": None,
    "time_zone": "Europe/Helsinki",
    "paused": False,
    "note": None,
    "next_runs": ["2026-11-22T01:00:00.000Z", "2026-11-23T01:00:00.000Z"],
    "last_run_at": "2026-11-21T01:00:00.012Z",
    "links": {"self": "/schedules/nightly", "jobs": "/schedules/nightly/jobs"},
}

SCHEDULE: dict[str, Any] = {
    **_SUMMARY,
    "overlap": "skip",
    "created_at": "2026-11-20T14:12:09.000Z",
    "counts": {"started": 1, "skipped": 0, "missed": 0},
    "runs": [
        {
            "scheduled_at": "2026-11-21T01:00:00.000Z",
            "started_at": "2026-11-21T01:00:00.012Z",
            "job": "job_01m805bra8c0bf3epyhcw67j48",
            "error": None,
            "workflow_id": "fanfold-3f9c2a71-nightly-2026-11-21T01:00:00Z",
        }
    ],
    "job": _JOB,
}

PAGE: dict[str, Any] = {"schedules": [_SUMMARY]}
