"""A finished job as JSON that Temporal can carry: of at most so many bytes."""

import json

from fanfold.answers.rendering import job_json, job_summary, with_fields
from fanfold.ledger.records import JobRecord


def carried_job(
    job: JobRecord, result: bytes | None, workflows_url: str | None, *, most_bytes: int
) -> bytes:
    """The JSON text of the job.

    Where that is too large its result is left out, and `result_at` says where it is.
    """
    whole = job_json(job, result, workflows_url)
    if len(whole) <= most_bytes:
        return whole
    summary = job_summary(job, workflows_url)
    place = {"result": None, "result_at": json.dumps(summary.links.self).encode()}
    without = with_fields(summary.model_dump_json().encode(), place)
    if len(without) <= most_bytes:
        return without
    # Nothing else in a job that no other is made of can be so long.
    unlimited = dict.fromkeys(("options", "stages", "compensate"))
    summary = summary.model_copy(update=unlimited)
    return with_fields(summary.model_dump_json().encode(), place)
