"""A job sent with its items as a file: one POST of two parts, streamed."""

import json
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measurement import NotAvailable

_TIMEOUT_SECONDS = 300.0
_NOT_OFFERED = {
    httpx.codes.NOT_FOUND,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.UNSUPPORTED_MEDIA_TYPE,
}


def post_file(url: str, job: dict[str, Any], items: Path) -> dict[str, Any]:
    """The job as it was accepted, with all its items recorded.

    As `curl -F 'job=<job.json' -F 'items=@FILE'` does it. Raises NotAvailable where the
    gateway takes no such request.
    """
    with items.open("rb") as file:
        response = httpx.post(
            f"{url}/jobs",
            files=[
                ("job", (None, json.dumps(job), "application/json")),
                ("items", (items.name, file, "application/x-ndjson")),
            ],
            timeout=_TIMEOUT_SECONDS,
        )
    if response.status_code in _NOT_OFFERED:
        raise NotAvailable(f"the gateway answers {response.status_code} to an upload")
    accepted: dict[str, Any] = response.raise_for_status().json()
    return accepted
