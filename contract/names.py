"""Every string that crosses a process border, and the ids derived from a job's id."""

import secrets
import time

JOB_WORKFLOW = "JobWorkflow"
SHARD_WORKFLOW = "ShardWorkflow"
CHUNK_WORKFLOW = "ChunkWorkflow"

# Orchestration has its own queue: a job's workflow tasks must never wait behind
# thousands of chunks, or completions pile up faster than the server buffers them.
JOB_TASK_QUEUE = "fanfold-jobs"
CHUNK_TASK_QUEUE = "fanfold-chunks"

OPEN_JOB = "open_job"
RUN_STAGE = "run_stage"
RUN_BLOCK = "run_block"
RECORD_LOST_CHUNK = "record_lost_chunk"
CLOSE_JOB = "close_job"

RELEASE_SLOTS = "release_slots"
STOP = "stop"

DEFAULT_TENANT = "default"

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_job_id() -> str:
    """A fresh job id: `job_` and a lower-case ULID, so ids sort by creation time.

    48 bits of milliseconds and 80 random bits, as the ULID specification has it.
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "job_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def shard_workflow_id(job_id: str, number: int) -> str:
    """The workflow id of a job's shard `number`."""
    return f"{job_id}/s{number:05d}"


def chunk_workflow_id(job_id: str, index: int) -> str:
    """The workflow id of chunk `index`; it starts with the job's, so jobs never collide."""
    return f"{job_id}/c{index:07d}"
