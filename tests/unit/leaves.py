"""Jobs whose chunks are shown: alone, and as parts of one that is made of jobs."""

from collections.abc import AsyncIterator, Iterable

from fanfold.app.answers.tree import Leaf, LeafChunk
from fanfold.contract.job_spec import Controls, JobSpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import ChunkCounts, JobRecord, Place


def a_job(
    job_id: str = "job_1", *, item_key: str | None = None, place: Place | None = None
) -> JobRecord:
    return JobRecord(
        id=JobId(job_id),
        state=JobState.SUCCEEDED,
        run=1,
        revision=1,
        spec=JobSpec(stages=(StageSpec(processor="double"),), item_key=item_key),
        controls=Controls(),
        total_chunks=1,
        total_items=1,
        created_at=0,
        started_at=0,
        finished_at=0,
        error=None,
        stop=None,
        counts=ChunkCounts(succeeded=1),
        errors=(),
        place=place or Place(),
    )


ROOT = a_job("job_root", place=Place(last_position=2, sub_jobs=2))


def a_part(path: str, *, item_key: str | None = None) -> Leaf:
    """A job that ROOT is made of, as it is shown where ROOT was asked for."""
    place = Place(parent=ROOT.id, root=ROOT.id, path=path, position=1, last_position=1)
    job = a_job(f"job_{path}", item_key=item_key, place=place)
    return Leaf(job, {"job": job.id, "path": path})


async def chunks_of(*groups: tuple[Leaf, Iterable[ChunkData]]) -> AsyncIterator[LeafChunk]:
    """The chunks of these jobs, one job after the other."""
    for leaf, chunks in groups:
        for chunk in chunks:
            yield leaf, chunk
