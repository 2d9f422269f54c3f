"""How much is measured: the full size, and a quick one that only shows that everything works."""

from dataclasses import dataclass

FANFOLD_MODES = ("workflow", "activity")
ON_POSTGRESQL = ("workflow_postgresql", "activity_postgresql")
ONE_WORKER = ("one_worker", "one_worker_postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One number of chunks, and who runs it how often, in this order, over and over."""

    chunks: int
    rounds: int
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers of chunks, repetitions and seconds of one run of the benchmarks."""

    laps: tuple[Lap, ...] = (
        Lap(chunks=200, rounds=3, sides=("workflow", "lab5", "dbos", "activity", "celery")),
        Lap(chunks=500, rounds=5, sides=("workflow", "lab5", "workflow_postgresql")),
        Lap(chunks=1_000, rounds=3, sides=("workflow", "lab5", "dbos", "activity", "celery")),
        Lap(
            chunks=5_000,
            rounds=3,
            sides=("activity", "celery", "activity_postgresql", *ONE_WORKER),
        ),
        Lap(chunks=10_000, rounds=2, sides=("workflow", "dbos", "activity", "celery")),
    )
    warm_up_chunks: int = 50
    small_jobs: int = 40
    warm_up_jobs: int = 5
    starts: int = 3
    read_chunks: int = 1_000
    read_connections: int = 32
    read_seconds: float = 5.0
    read_pairs: int = 5
    polled_chunks: int = 10_000
    polls_per_second: int = 500
    polls: int = 5_000
    upload_items: int = 1_000_000
    upload_pairs: int = 3
    cost_chunks: int = 1_000
    large_items: int = 1_000_000
    large_chunk_size: int = 10
    slow_rounds: int = 2
    slow_chunks: int = 2_500
    slower_chunks: int = 600
    called_items: int = 5_000
    jobs_at_once: int = 100
    chunks_of_a_job: int = 300
    jobs_of_one_chunk: int = 600
    beside_rounds: int = 3
    beside_chunks: int = 10_000
    beside_slow_chunks: int = 4_000
    steered_chunks: int = 100_000
    redrives: int = 5
    changes: int = 5
    pieces: int = 60
    shape_rounds: int = 3
    sub_jobs: int = 1_000
    root_polls_per_second: int = 200


FULL = Sizes()
QUICK = Sizes(
    laps=(
        Lap(chunks=20, rounds=1, sides=("workflow", "lab5", "dbos", "activity", "celery")),
        Lap(chunks=50, rounds=2, sides=("workflow", "lab5", "dbos", "activity", "celery")),
        Lap(chunks=60, rounds=1, sides=(*FANFOLD_MODES, *ON_POSTGRESQL, *ONE_WORKER)),
    ),
    warm_up_chunks=10,
    small_jobs=5,
    warm_up_jobs=1,
    starts=1,
    read_chunks=20,
    read_seconds=0.5,
    read_pairs=1,
    polled_chunks=200,
    polls=300,
    upload_items=20_000,
    upload_pairs=1,
    cost_chunks=50,
    large_items=20_000,
    slow_rounds=1,
    slow_chunks=400,
    slower_chunks=80,
    called_items=300,
    jobs_at_once=5,
    chunks_of_a_job=50,
    jobs_of_one_chunk=20,
    beside_rounds=1,
    beside_chunks=1_000,
    beside_slow_chunks=400,
    steered_chunks=4_000,
    redrives=2,
    changes=1,
    pieces=6,
    shape_rounds=1,
    sub_jobs=30,
)
