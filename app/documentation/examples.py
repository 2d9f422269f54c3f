"""Examples in the API's documentation: requests that run as they are, and answers."""

import json
from typing import Any

from fanfold.app.http.accept import CSV, NDJSON

PATCHES: dict[str, Any] = {
    "labels": {
        "summary": "Another name, and a label more",
        "value": {"name": "lab 5, checked", "labels": {"checked": "yes"}},
    },
    "removed": {
        "summary": "No name, and a label less",
        "value": {"name": None, "labels": {"checked": None}},
    },
}

REDRIVES: dict[str, Any] = {
    "all": {"summary": "All that failed or was cancelled", "value": {}},
    "errors": {
        "summary": "Items that failed with one error, with other options",
        "value": {
            "select": {"error_types": ["ApplicationError"]},
            "options": {"fail_if_divisible_by": 4},
        },
    },
    "corrected": {
        "summary": "One child, with its item corrected",
        "value": {
            "select": {"indexes": [1]},
            "corrections": [{"index": 1, "item": 0, "value": 7}],
        },
    },
}

RESULT = [10]

EXTENT: dict[str, Any] = {
    "valid": True,
    "chunks": 5,
    "items": 5,
    "execution": "workflow",
    "largest_chunk_bytes": 3,
    "jobs": None,
}

_FORM_JOB = {
    "name": "flights by airline",
    "chunk_size": 1000,
    "processor": "count_by",
    "options": {"field": "airline"},
    "reducer": "merge_counts",
}

FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "description": "First the job without its data, then the items.",
        "required": ["job", "items"],
        "properties": {
            "job": {
                "type": "object",
                "description": "The job, without `items`, `chunks` and `source`.",
                "example": _FORM_JOB,
            },
            "items": {
                "type": "string",
                "format": "binary",
                "description": "NDJSON, CSV with a header row, or a JSON array; gzip or not.",
            },
        },
    },
    "encoding": {
        "job": {"contentType": "application/json"},
        "items": {"contentType": "application/x-ndjson, text/csv, application/json"},
    },
}

PART: dict[str, Any] = {"part": 1, "items": 250000, "chunks": 250}

_ID = "job_01m805bra8c0bf3epyhcw67j48"

JOB_SUMMARY: dict[str, Any] = {
    "id": _ID,
    "name": "lab 5",
    "parent": None,
    "path": None,
    "state": "partially_succeeded",
    "run": 1,
    "execution": "workflow",
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "stages": None,
    "reducer": "collect",
    "order": None,
    "max_jobs": None,
    "input": None,
    "when": None,
    "compensate": None,
    "chunk_size": None,
    "item_key": None,
    "max_concurrency": 50,
    "max_per_second": None,
    "priority": 3,
    "start_at": None,
    "deadline_seconds": None,
    "retry": {
        "max_attempts": 1,
        "initial_interval_seconds": 1.0,
        "backoff_coefficient": 2.0,
        "max_interval_seconds": 60.0,
        "non_retryable": [],
    },
    "chunk_timeout_seconds": 300.0,
    "tolerated_failures": None,
    "on_failure": "record",
    "hold_timeout_seconds": None,
    "retention_hours": None,
    "jobs": None,
    "chunks": {
        "total": 5,
        "pending": 0,
        "running": 0,
        "succeeded": 3,
        "partially_succeeded": 0,
        "failed": 2,
        "cancelled": 0,
        "held": 0,
    },
    "items": {"total": 5, "succeeded": 3, "failed": 2},
    "success_rate": 0.6,
    "progress": {"percent": 100.0, "chunks_per_second": 32.5, "eta_seconds": None},
    "errors": [
        {
            "type": "ApplicationError",
            "message": "Simulated failure for value 2",
            "count": 1,
            "first_index": 1,
            "first_item": 0,
            "first_job": None,
        },
        {
            "type": "ApplicationError",
            "message": "Simulated failure for value 4",
            "count": 1,
            "first_index": 3,
            "first_item": 0,
            "first_job": None,
        },
    ],
    "error": None,
    "labels": {},
    "created_at": "2026-11-21T22:09:04.141Z",
    "started_at": "2026-11-21T22:09:04.167Z",
    "finished_at": "2026-11-21T22:09:04.321Z",
    "links": {
        "self": f"/jobs/{_ID}",
        "children": f"/jobs/{_ID}/children",
        "results": f"/jobs/{_ID}/results",
        "jobs": None,
        "temporal_ui": f"http://localhost:8233/namespaces/default/workflows/{_ID}",
    },
}

JOB: dict[str, Any] = {
    **JOB_SUMMARY,
    "result": [
        {"index": 0, "result": [2]},
        {"index": 2, "result": [6]},
        {"index": 4, "result": [10]},
    ],
}

JOB_PAGE: dict[str, Any] = {"jobs": [JOB_SUMMARY]}


def _sub_job(job_id: str, name: str, items: int) -> dict[str, Any]:
    address = f"/jobs/{job_id}"
    return {
        **JOB_SUMMARY,
        "id": job_id,
        "name": name,
        "parent": _ID,
        "path": name,
        "state": "succeeded",
        "processor": "count_by",
        "options": {"field": "sku"},
        "reducer": "merge_counts",
        "chunk_size": 100,
        "chunks": {**JOB_SUMMARY["chunks"], "total": 1, "succeeded": 1, "failed": 0},
        "items": {"total": items, "succeeded": items, "failed": 0},
        "success_rate": 1.0,
        "errors": [],
        "links": {
            "self": address,
            "children": f"{address}/children",
            "results": f"{address}/results",
            "jobs": None,
            "temporal_ui": f"http://localhost:8233/namespaces/default/workflows/{job_id}",
        },
    }


SUB_JOB_PAGE: dict[str, Any] = {
    "jobs": [
        _sub_job("job_01m805bra8c0bf3epyhcw67j49", "EU", 3),
        _sub_job("job_01m805bra8c0bf3epyhcw67j4a", "US", 2),
    ]
}

CHILD: dict[str, Any] = {
    "index": 1,
    "state": "failed",
    "item_count": 1,
    "attempts": 1,
    "run": 1,
    "resolved_by": None,
    "error": {
        "type": "ApplicationError",
        "message": "Simulated failure for value 2",
        "retryable": True,
    },
    "traceback": None,
    "item_errors": [
        {
            "item": 0,
            "key": None,
            "stage": 0,
            "type": "ApplicationError",
            "message": "Simulated failure for value 2",
            "traceback": None,
        }
    ],
    "workflow_id": f"{_ID}/c0000001",
    "started_at": "2026-11-21T22:09:04.256Z",
    "finished_at": "2026-11-21T22:09:04.257Z",
    "duration_seconds": 0.001,
    "result": None,
}

RESOLVED_CHILD: dict[str, Any] = {
    **CHILD,
    "index": 3,
    "state": "succeeded",
    "resolved_by": "client",
    "error": None,
    "item_errors": [],
    "workflow_id": f"{_ID}/c0000003",
    "result": RESULT,
}

CHILD_PAGE: dict[str, Any] = {"children": [CHILD]}

ITEM: dict[str, Any] = {
    "index": 1,
    "item": 0,
    "key": None,
    "state": "failed",
    "value": 2,
    "result": None,
    "error": {
        "type": "ApplicationError",
        "message": "Simulated failure for value 2",
        "retryable": True,
    },
}

ITEM_PAGE: dict[str, Any] = {"items": [ITEM]}

FAILURE: dict[str, Any] = {name: ITEM[name] for name in ("index", "item", "value", "error")}

ATTEMPTS: dict[str, Any] = {
    "attempts": [
        {
            "run": 1,
            "stage": 0,
            "number": 1,
            "state": "failed",
            "error": CHILD["error"],
            "started_at": "2026-11-21T22:09:04.256Z",
            "finished_at": "2026-11-21T22:09:04.257Z",
        }
    ],
    "omitted": 0,
}

PROCESSOR: dict[str, Any] = {
    "name": "word_count",
    "description": "Count the words of the chunk's texts.",
    "options_schema": {
        "type": "object",
        "properties": {"min_length": {"type": "integer", "default": 1}},
        "additionalProperties": False,
    },
    "example": {
        "items": ["to be or not to be"],
        "processor": "word_count",
        "reducer": "merge_counts",
    },
    "takes": "chunk",
    "item_schema": {"type": "string"},
}

REDUCER: dict[str, Any] = {
    "name": "sum",
    "description": "Add up all numbers in the surviving chunks' results, exactly.",
    "options_schema": {"type": "object", "properties": {}, "additionalProperties": False},
    "example": {"items": [1, 2, 3, 4], "chunk_size": 2, "processor": "double", "reducer": "sum"},
}


def answer(schema: str, example: object) -> dict[str, Any]:
    """The OpenAPI content of a JSON answer: its schema by name, and an example."""
    return {
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{schema}"},
            "example": example,
        }
    }


def streamed(line: object, csv: str) -> dict[str, Any]:
    """The OpenAPI content and headers of a streamed answer: an example line, and one as CSV."""
    return {
        "content": {
            NDJSON: {"schema": {"type": "string"}, "example": json.dumps(line) + "\n"},
            CSV: {"schema": {"type": "string"}, "example": csv},
        },
        "headers": {
            "Content-Encoding": {
                "description": "`gzip` where `Accept-Encoding` asks for it.",
                "schema": {"type": "string"},
            },
        },
    }


FAILURES_CSV = (
    "index,item,error_type,error_message,value,more\r\n"
    "1,0,ApplicationError,Simulated failure for value 2,2,\r\n"
)

RESULTS_CSV = (
    "index,item,state,error,value,more\r\n"
    "0,0,succeeded,,2,\r\n"
    "1,0,failed,ApplicationError: Simulated failure for value 2,,\r\n"
)
