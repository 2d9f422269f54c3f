"""The scenarios of scripts/record_histories.py that are about jobs, shards and chunks."""

import dataclasses
from functools import partial

from fanfold.contract.job_spec import (
    Execution,
    OnFailure,
    Order,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.plan import TUNING, Tuning
from scripts.history_recorder import LAST, Recorder, Scenario

QUICK_SAMPLE = Tuning().quick_sample
SHARDS_OF_TWO = Tuning(chunks_without_shards=0, shard_chunks=2)
FEW_EVENTS = 20
"""So many may be in the histories of scenarios that are about full ones."""

# One attempt each: what a chunk retries between its first and last event is not in its history.
ONCE = RetrySpec(max_attempts=1)
DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONCE)
FAIL_FIRST = StageSpec(
    processor="double",
    options={"fail_attempts": 1},
    retry=RetrySpec(max_attempts=2, initial_interval_seconds=0.4),
)
WAIT_LONG = StageSpec(
    processor="double",
    options={"fail_attempts": 1},
    # Longer than its blocks wait for what is due.
    retry=RetrySpec(max_attempts=2, initial_interval_seconds=1.0),
)
WAIT_AT_ZERO = StageSpec(processor="wait_at_zero")
UNDO = StageSpec(processor="validate", retry=ONCE)


of_jobs = partial(Scenario, values=[], stages=())
in_shards = partial(Scenario, shard=0, tuning=SHARDS_OF_TWO)
in_blocks = partial(
    Scenario, shard=0, execution=Execution.ACTIVITY, tuning=Tuning(block_chunks_without_shards=0)
)

SCENARIOS = [
    Scenario(name="success", values=[1, 2], stages=(DOUBLE,), chunk=0),
    Scenario(name="partial_failure", values=[1, 2, 3], stages=(ODD_SUCCEED,), chunk=1),
    Scenario(name="items_failed", values=[(1, 2, 3), 1], stages=(ODD_SUCCEED,), chunk=0),
    Scenario(
        name="tolerance_exceeded",
        values=[2, 1, 1],
        stages=(ODD_SUCCEED,),
        max_concurrency=1,
        tolerated_failures=ToleranceSpec(count=0),
    ),
    Scenario(name="stages", values=[1], stages=(DOUBLE, DOUBLE), chunk=0),
    Scenario(
        name="quick_chunks",
        values=[1] * (QUICK_SAMPLE + 1),
        stages=(DOUBLE,),
        max_concurrency=1,
        chunk=QUICK_SAMPLE,
    ),
    Scenario(
        name="quick_chunk_retried",
        values=[1],
        stages=(FAIL_FIRST,),
        quick_streak=QUICK_SAMPLE,
        chunk=0,
    ),
    Scenario(
        name="cancel",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        chunk=0,
        disturb=Recorder.cancel,
    ),
    Scenario(
        name="quick_chunk_cancelled",
        values=[0],
        stages=(WAIT_AT_ZERO,),
        quick_streak=QUICK_SAMPLE,
        chunk=0,
        disturb=Recorder.cancel,
    ),
    Scenario(
        name="child_terminated",
        values=[0, 1],
        stages=(WAIT_AT_ZERO,),
        chunk=0,
        disturb=Recorder.terminate_first_child,
    ),
    in_shards(name="shards", values=[1, 2, 3, 4], stages=(ODD_SUCCEED,), chunk=2),
    in_shards(
        name="shards_lend_slots",
        values=[0, 1, 1, 1, 1, LAST],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.let_go,
    ),
    in_shards(
        name="shards_cancelled",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.cancel,
    ),
    in_shards(
        name="shard_terminated",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.terminate_first_shard,
    ),
    in_shards(name="shards_put_off", values=[1, 2, 3], stages=(FAIL_FIRST,), max_concurrency=1),
    in_shards(
        name="shards_full",
        values=[1] * 12,
        stages=(DOUBLE,),
        tuning=dataclasses.replace(SHARDS_OF_TWO, shard_chunks=12, max_events=FEW_EVENTS),
    ),
    in_shards(
        name="shards_full_at_a_straggler",
        values=[0, *[1] * 6, LAST],
        stages=(WAIT_AT_ZERO,),
        tuning=dataclasses.replace(SHARDS_OF_TWO, shard_chunks=8, max_events=FEW_EVENTS),
        disturb=Recorder.let_go,
    ),
    Scenario(
        name="job_full", values=[1] * 8, stages=(DOUBLE,), tuning=Tuning(max_events=FEW_EVENTS)
    ),
    Scenario(name="no_reducer", values=[1, 2], stages=(DOUBLE,), reducer=None),
    Scenario(
        name="blocks_without_shards",
        values=[1, 2, 3, 4],
        stages=(ODD_SUCCEED,),
        execution=Execution.ACTIVITY,
    ),
    in_blocks(name="blocks", values=[1, 2, 3, 4], stages=(ODD_SUCCEED,)),
    in_blocks(name="blocks_put_off", values=[1, 2, 3], stages=(FAIL_FIRST,)),
    in_blocks(
        name="blocks_wait_long",
        values=[1, 2, 3],
        stages=(WAIT_LONG,),
        tuning=Tuning(block_chunks_without_shards=0, patience_seconds=0.2),
    ),
    in_blocks(
        name="blocks_make_way",
        # One lane of a block is held up; the block's time is over with its first chunk.
        values=[0, *[1] * 23],
        stages=(WAIT_AT_ZERO,),
        max_concurrency=8,
        tuning=Tuning(block_chunks_without_shards=0, block_seconds=0.0),
        disturb=Recorder.let_go_after_slots_are_back,
    ),
    in_blocks(
        name="blocks_full",
        values=[1] * 12,
        stages=(DOUBLE,),
        tuning=Tuning(block_chunks_without_shards=0, block_seconds=0.0, max_events=FEW_EVENTS),
    ),
    in_blocks(
        name="blocks_cancelled", values=[0, 1], stages=(WAIT_AT_ZERO,), disturb=Recorder.cancel
    ),
    in_blocks(
        name="blocks_shard_terminated",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.terminate_first_shard,
    ),
    in_blocks(
        name="blocks_tolerance_exceeded",
        values=[2, 1, 1, 1],
        stages=(ODD_SUCCEED,),
        max_concurrency=1,
        tolerated_failures=ToleranceSpec(count=0),
    ),
    Scenario(
        name="paused",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        max_concurrency=1,
        disturb=Recorder.pause_and_resume,
    ),
    Scenario(
        name="held",
        values=[1, 2, 3],
        stages=(ODD_SUCCEED,),
        on_failure=OnFailure.HOLD,
        disturb=Recorder.release,
    ),
    Scenario(
        name="past_deadline",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        deadline_seconds=1,
        disturb=Recorder.wait_for_the_deadline,
    ),
    Scenario(name="paced", values=[1] * 3, stages=(DOUBLE,), max_per_second=4),
    Scenario(
        name="drained",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.drain,
    ),
    Scenario(
        name="child_cancelled",
        values=[0, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.cancel_first_child,
    ),
    in_shards(
        name="shards_paused",
        values=[0, 1, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.pause_and_resume,
    ),
    in_shards(
        name="shards_narrowed",
        values=[0] * 8,
        stages=(WAIT_AT_ZERO,),
        max_concurrency=4,
        tuning=dataclasses.replace(SHARDS_OF_TWO, shard_chunks=4),
        disturb=Recorder.narrow_and_widen,
    ),
    in_shards(
        name="shards_changed_at_start", values=[1, 2, 3, 4], stages=(DOUBLE,), looks_late=True
    ),
    in_shards(name="shards_paced", values=[1] * 4, stages=(DOUBLE,), max_per_second=4),
    in_blocks(
        name="blocks_narrowed",
        values=[0] * 8,
        stages=(WAIT_AT_ZERO,),
        max_concurrency=4,
        disturb=Recorder.narrow_and_widen,
    ),
    Scenario(
        name="blocks_narrowed_without_shards",
        values=[0] * 8,
        stages=(WAIT_AT_ZERO,),
        execution=Execution.ACTIVITY,
        max_concurrency=4,
        disturb=Recorder.narrow_and_widen,
    ),
    in_blocks(
        name="blocks_paused",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        max_concurrency=1,
        disturb=Recorder.pause_and_resume,
    ),
    in_blocks(
        name="blocks_past_deadline",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        deadline_seconds=1,
        disturb=Recorder.wait_for_the_deadline,
    ),
    in_blocks(
        name="blocks_drained",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.drain,
    ),
    of_jobs(
        name="sub_jobs",
        jobs=[
            Scenario(name="good", values=[1, 2], stages=(DOUBLE,)),
            Scenario(name="bad", values=[2], stages=(ODD_SUCCEED,)),
            Scenario(name="scattered", values=[], stages=(DOUBLE,)),
        ],
        values=[5],
    ),
    of_jobs(
        name="sub_jobs_in_sequence",
        order=Order.SEQUENCE,
        jobs=[
            Scenario(name="first", values=[1, 2], stages=(DOUBLE,), reducer="merge"),
            Scenario(name="second", values=[], stages=(DOUBLE,), has_previous_input=True),
            Scenario(name="third", values=[3], stages=(DOUBLE,), when="previous.state == 'failed'"),
        ],
    ),
    of_jobs(
        name="sub_jobs_compensated",
        order=Order.SEQUENCE,
        jobs=[
            Scenario(name="good", values=[1, 2], stages=(DOUBLE,), compensate=UNDO),
            Scenario(name="bad", values=[2], stages=(ODD_SUCCEED,)),
            Scenario(name="never", values=[3], stages=(DOUBLE,)),
        ],
    ),
    Scenario(
        name="compensated",
        values=[1, 0],
        stages=(WAIT_AT_ZERO,),
        max_concurrency=1,
        compensate=UNDO,
        disturb=Recorder.cancel,
    ),
    of_jobs(
        name="sub_jobs_cancelled",
        jobs=[
            Scenario(name="waits", values=[0], stages=(WAIT_AT_ZERO,)),
            Scenario(name="waits_too", values=[0, 1], stages=(WAIT_AT_ZERO,)),
        ],
        disturb=Recorder.cancel,
    ),
    of_jobs(
        name="sub_job_terminated",
        jobs=[
            Scenario(name="waits", values=[0], stages=(WAIT_AT_ZERO,)),
            Scenario(name="good", values=[1], stages=(DOUBLE,)),
        ],
        disturb=Recorder.terminate_first_job,
    ),
    of_jobs(
        name="sub_job_terminated_and_undone",
        jobs=[
            Scenario(
                name="waits",
                values=[1, 0],
                stages=(WAIT_AT_ZERO,),
                max_concurrency=1,
                compensate=UNDO,
            ),
            Scenario(name="good", values=[1], stages=(DOUBLE,)),
        ],
        keeps_first_job=True,
        disturb=Recorder.terminate_first_job,
    ),
    of_jobs(
        name="sub_jobs_full",
        jobs=[Scenario(name=f"job{n}", values=[n], stages=(DOUBLE,)) for n in range(12)],
        tuning=Tuning(max_events=FEW_EVENTS),
    ),
    Scenario(
        name="folded_locally",
        values=[1, 2],
        stages=(DOUBLE,),
        execution=Execution.ACTIVITY,
        tuning=TUNING,
    ),
]
