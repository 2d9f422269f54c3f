"""Whose chunks the data of a job that receives becomes: its own, or those of jobs below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who gets the data of a job that receives."""

    owners: Sequence[JobId]
    """The jobs whose chunks it becomes, in order: the job itself, or some of those below it."""
    times: Mapping[JobId, int]
    """Of jobs below it: how many of these each one has below it, or is."""
    other_chunks: int = 0
    """Of jobs below it that have got theirs."""
    other_items: int = 0

    @property
    def below(self) -> Sequence[JobId]:
        """Those of the owners that are jobs below it."""
        return [owner for owner in self.owners if owner in self.times]


async def receivers(database: Database, job_id: JobId, tenant: TenantId) -> Receivers:
    """Who gets the data of this job, as things stand: those that were cancelled do not."""
    rows = await database.read(
        "SELECT id, parent_id, sub_jobs, total_chunks, total_items, finished_at, spec, controls "
        "FROM jobs WHERE root_id = ? AND tenant = ? ORDER BY position DESC",
        (job_id, tenant),
    )
    if not rows:
        return Receivers([job_id], {})
    owners: list[JobId] = []
    times: dict[JobId, int] = {}
    chunks = items = 0
    for row in rows:  # what is below comes first
        if not row["sub_jobs"]:
            has_input = JobSpec.from_json(row["spec"], row["controls"]).has_previous_input
            is_owner = not row["total_chunks"] and not has_input
            if is_owner and row["finished_at"] is None:
                owners.insert(0, row["id"])
                times[row["id"]] = 1
            chunks, items = chunks + row["total_chunks"], items + row["total_items"]
        if row["id"] in times and row["parent_id"] != job_id:
            above = row["parent_id"]
            times[above] = times.get(above, 0) + times[row["id"]]
    return Receivers(owners, times, chunks, items)
