"""Every string that crosses a process border, and the ids derived from a job's id."""

import secrets
import time
from typing import NewType

JobId = NewType("JobId", str)
TenantId = NewType("TenantId", str)

JOB_WORKFLOW = "JobWorkflow"
SHARD_WORKFLOW = "ShardWorkflow"
CHUNK_WORKFLOW = "ChunkWorkflow"
SUBMIT_JOB = "SubmitJob"

OPEN_JOB = "open_job"
PLAN_PAGE = "plan_page"
RUN_STAGE = "run_stage"
RUN_BLOCK = "run_block"
RECORD_LOST = "record_lost"
CLOSE_JOB = "close_job"
END_REPLACED = "end_replaced"
LOOK_AT_JOB = "look_at_job"
NARROW_BLOCKS = "narrow_blocks"
TAKE_TURNS = "take_turns"
PLAN_JOBS = "plan_jobs"
PLAN_NEXT_JOB = "plan_next_job"
CLOSE_LOST_JOB = "close_lost_job"
NAME_LEDGER = "name_ledger"
RECORD_JOB = "record_job"
CLAIM_JOB = "claim_job"
AWAIT_JOB = "await_job"
CANCEL_JOB = "cancel_job"
SHOW_JOB = "show_job"

SLOTS_RETURNED = "slots_returned"
SLOTS_LENT = "slots_lent"
BLOCK_SLOTS_RETURNED = "block_slots_returned"
STOP = "stop"
CHANGED = "changed"

DEFAULT_TENANT = TenantId("default")

SCHEDULE_LABEL = "schedule"
"""The label of a job that a schedule has submitted: the name of the schedule."""

RANDOM_BITS = 80
"""So many bits of a job's id are random."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_job_id() -> JobId:
    """A fresh job id."""
    return job_id_of(time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS))


def job_id_of(milliseconds: int, random: int) -> JobId:
    """A job id: `job_` and a lower-case ULID, so ids sort by creation time.

    48 bits of milliseconds since 1970 and 80 random bits, as the ULID specification has it.
    """
    number = milliseconds << RANDOM_BITS | random
    return JobId(
        "job_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
    )


def job_task_queue(ledger_id: str) -> str:
    """The queue of jobs and shards of one ledger.

    A queue belongs to a ledger: a worker on another ledger, one that was started without
    its address say, is never handed work whose data it does not have. Orchestration has a
    queue apart from chunks: a job's workflow tasks must never wait behind thousands of
    chunks, or completions pile up faster than the server buffers them.
    """
    return f"fanfold-jobs-{ledger_id}"


def chunk_task_queue(ledger_id: str) -> str:
    """The queue of chunks and blocks of one ledger."""
    return f"fanfold-chunks-{ledger_id}"


def job_workflow_id(job_id: str, run: int) -> str:
    """The id of the workflow of a job's run: each run has one of its own.

    So a start that arrives late cannot start an earlier run again.
    """
    return job_id if run == 1 else f"{job_id}/r{run}"


def shard_workflow_id(job_id: str, number: int) -> str:
    """The workflow id of a job's shard `number`."""
    return f"{job_id}/s{number:05d}"


def chunk_workflow_id(job_id: str, index: int) -> str:
    """The workflow id of chunk `index`; it starts with the job's, so jobs never collide."""
    return f"{job_id}/c{index:07d}"
