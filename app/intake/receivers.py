"""Who gets the data that is sent to a receiving job."""

from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import JobSpec
from fanfold.ledger.connect import TenantLedger
from fanfold.ledger.records import JobRecord


@dataclass(frozen=True, slots=True)
class Receivers:
    """The jobs that get it: the one it is sent to, or some of those that this is made of."""

    specs: Sequence[JobSpec]
    chunks_of_others: int
    """How many chunks there are already, of those that came with data of their own."""

    def chunk_count(self, sent: int) -> int:
        """How many chunks there are in all, where so many were sent."""
        return self.chunks_of_others + sent * len(self.specs)

    def most_sent(self, most_chunks: int) -> int:
        """How many chunks may be sent, where there may be so many in all."""
        return (most_chunks - self.chunks_of_others) // len(self.specs)


async def receivers_of(job: JobRecord, tenant: TenantLedger) -> Receivers:
    """Who gets what is sent to this job. Raises LedgerUnavailable."""
    if not job.is_parent:
        return Receivers([job.spec], 0)
    leaves = await tenant.jobs.leaves(job)
    without = [leaf.spec for leaf in leaves if not leaf.total_chunks]
    return Receivers(
        [spec for spec in without if not spec.has_previous_input],
        sum(leaf.total_chunks for leaf in leaves),
    )
