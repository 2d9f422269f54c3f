"""How much is measured: the full size, and a quick one that only shows that everything works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers of chunks, repetitions and seconds of one run of the benchmarks."""

    chunks: int = 500
    large_chunks: int = 2_500
    warm_up_chunks: int = 50
    pairs: int = 5
    large_pairs: int = 3
    small_jobs: int = 40
    warm_up_jobs: int = 5
    read_chunks: int = 1_000
    read_connections: int = 32
    read_seconds: float = 5.0
    read_pairs: int = 5
    starts: int = 3


FULL = Sizes()
QUICK = Sizes(
    chunks=50,
    large_chunks=100,
    warm_up_chunks=10,
    pairs=1,
    large_pairs=1,
    small_jobs=5,
    warm_up_jobs=1,
    read_chunks=20,
    read_seconds=0.5,
    read_pairs=1,
    starts=1,
)
