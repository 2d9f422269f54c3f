"""Jobs that run as they are, as examples of `POST /jobs`."""

from typing import Any

REQUESTS: dict[str, Any] = {
    "lab5": {
        "summary": "Five chunks, of which the even ones fail",
        "value": {
            "name": "lab 5",
            "chunks": [[1], [2], [3], [4], [5]],
            "processor": "double",
            "options": {"fail_if_divisible_by": 2},
            "retry": {"max_attempts": 1},
            "reducer": "collect",
        },
    },
    "count": {
        "summary": "Map-reduce: count items by a field",
        "value": {
            "name": "airports by country",
            "items": [
                {"iata": "HEL", "country": "FI"},
                {"iata": "ARN", "country": "SE"},
                {"iata": "OUL", "country": "FI"},
            ],
            "chunk_size": 2,
            "processor": "count_by",
            "options": {"field": "country"},
            "reducer": "merge_counts",
            "labels": {"team": "data"},
        },
    },
    "stages": {
        "summary": "Two stages: drop what is invalid, then transform",
        "value": {
            "items": [" ada ", "", "grace"],
            "chunk_size": 3,
            "stages": [
                {
                    "processor": "validate",
                    "options": {"rules": [{"required": True}], "on_invalid": "drop"},
                },
                {"processor": "transform", "options": {"strip": True, "upper": True}},
            ],
            "reducer": "merge",
        },
    },
}

REQUESTS["checked"] = {
    "summary": "With its items checked before anything is recorded",
    "value": {
        "items": ["to be or not to be", "that is the question"],
        "check_items": True,
        "processor": "word_count",
        "options": {"min_length": 3},
        "reducer": "merge_counts",
    },
}

REQUESTS["upload"] = {
    "summary": "Without data, which follows with PUT /jobs/{job_id}/items",
    "value": {
        "name": "flights by airline",
        "source": "upload",
        "chunk_size": 1000,
        "processor": "count_by",
        "options": {"field": "airline"},
        "reducer": "merge_counts",
    },
}

REQUESTS["held"] = {
    "summary": "Paced, and kept for a person where an item fails",
    "value": {
        "name": "five, one of which needs a person",
        "chunks": [[1], [2], [3], [5], [7]],
        "processor": "double",
        "options": {"fail_if_divisible_by": 5},
        "retry": {"max_attempts": 1},
        "reducer": "sum",
        "max_per_second": 10,
        "priority": 2,
        "deadline_seconds": 3600,
        "on_failure": "hold",
        "hold_timeout_seconds": 600,
    },
}

REQUESTS["tree"] = {
    "summary": "Made of jobs: stock by region and store",
    "value": {
        "name": "stock by region",
        "processor": "count_by",
        "options": {"field": "sku"},
        "reducer": "merge_counts",
        "jobs": {
            "EU": {
                "jobs": {
                    "FI": {"items": [{"sku": "tea"}, {"sku": "salt"}]},
                    "SE": {"items": [{"sku": "tea"}], "retry": {"max_attempts": 5}},
                }
            },
            "US": {"items": [{"sku": "salt"}]},
        },
    },
}

REQUESTS["sequence"] = {
    "summary": "Made of jobs, one after another: the second works on what the first gave",
    "value": {
        "order": "sequence",
        "reducer": "collect",
        "jobs": {
            "clean": {
                "items": [" ada ", "", "grace"],
                "processor": "validate",
                "options": {"rules": [{"required": True}], "on_invalid": "drop"},
                "reducer": "merge",
            },
            "shout": {
                "input": "previous",
                "when": "previous.items.succeeded > `0`",
                "processor": "transform",
                "options": {"strip": True, "upper": True},
                "reducer": "merge",
            },
        },
    },
}
