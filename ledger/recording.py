"""The one way in: what records a job, however its data comes.

A job's data comes with it, as rows; or it came before, as an upload; or it comes
afterwards, in parts, until the job is sealed. Chunks are made of rows, or of what uploads
have stored: each place that an upload has filled gets its chunk, in the order of the
parts. No data is copied: that of a job made of jobs is stored once, and the chunks of the
sub-jobs that get it say where it is.

A job made of jobs is recorded with all of them, in one transaction.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import ChunkState
from fanfold.ledger.all_or_nothing import fail_unless
from fanfold.ledger.database import Batch, Statement, UniqueViolation, Value
from fanfold.ledger.idempotency import raise_key_taken
from fanfold.ledger.pacing import pace_of
from fanfold.ledger.receivers import receivers
from fanfold.ledger.records import IdempotencyKey, NewChunk, now_ms
from fanfold.ledger.tenancy import OfTenant
from fanfold.ledger.transitions import RECEIVE, RECORD, SEAL
from fanfold.ledger.uploads import IS_OPEN, Upload, UploadGone

_CHUNK = f"'{ChunkState.PENDING}'"
# Of a job that is being sealed, once it is.
_IS_SEALED = (
    "uploads.job_id = ? AND uploads.tenant = ? AND uploads.is_complete = 1 "
    "AND EXISTS (SELECT 1 FROM jobs "
    f"WHERE jobs.id = uploads.job_id AND jobs.state = '{SEAL.after}')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be recorded."""

    id: JobId
    spec: JobSpec
    controls: Controls
    key: IdempotencyKey | None = None
    keep_ms: int | None = None
    """How long to keep it once it has finished, where it asks for that."""
    own_start_ms: int = 0
    """How long whoever records it has, once its time has come, to start it: until then no gateway
    does."""
    jobs: "Sequence[NewSubJob]" = ()
    """Of a job made of jobs: these, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubJob:
    """A job that another one is made of."""

    id: JobId
    name: str
    """Its name among the sub-jobs of its parent: the last part of its path."""
    spec: JobSpec
    controls: Controls
    data: Sequence[NewChunk] | None = None
    """Its own data. None where it gets that of the nearest job above it that has any, or the
    result of the sub-job before it, or is made of jobs itself."""
    jobs: "Sequence[NewSubJob]" = ()


Data = Sequence[NewChunk] | Upload | None
"""A job's chunks, or the upload that has stored them; None where it gets them afterwards."""


class Recording(OfTenant):
    """Operations that record a job. Every method raises LedgerUnavailable."""

    async def record(self, job: NewJob, data: Data) -> None:
        """Record a job with all its chunks, ready to start, or nothing of it.

        Without data it receives. Raises KeyTaken where the idempotency key has a job
        already, and UploadGone.
        """
        script = (
            # Of some thousand jobs it takes a second, in which others want their polls answered.
            await asyncio.to_thread(_script, job, self._tenant, data)
            if job.jobs
            else _script(job, self._tenant, data)
        )
        try:
            *_, last = await self._database.write(*script)
        except UniqueViolation:
            if job.key is not None:
                await raise_key_taken(self._database, self._tenant, job.key)
            raise
        if isinstance(data, Upload) and not last:
            raise UploadGone

    async def seal(self, job_id: JobId, spec: JobSpec, controls: Controls, revision: int) -> bool:
        """Make the complete parts the job's chunks, in order, and let it start.

        False, having done nothing, where the job is not receiving, has no chunks, or is not at
        this revision any more: it has got more data since, or other controls. Or where one of
        those that it is made of was to get the data, and has just been cancelled.
        """
        who = await receivers(self._database, job_id, self._tenant)
        count, below = len(who.owners), who.below
        sums = "(SELECT COALESCE(SUM({}), 0) FROM uploads WHERE " + _IS_SEALED + ")"
        of_upload = (job_id, self._tenant)
        script: list[Statement | Batch] = [
            Statement(
                f"UPDATE jobs SET {SEAL.change}, spec = ?, controls = ?, checked_at = ?, "
                # Each of those that get the data has chunks of its own.
                "total_chunks = total_chunks * ? + ?, total_items = total_items * ? + ? "
                f"WHERE id = ? AND tenant = ? AND {SEAL.condition} AND revision = ? "
                "AND total_chunks > 0 RETURNING id",
                (
                    *(spec.to_json(controls), controls.to_json(spec), now_ms()),
                    *(count, who.other_chunks, count, who.other_items),
                    *(job_id, self._tenant, revision),
                ),
            ),
            # Whoever is about to end one of them waits, and then finds its chunks.
            Batch(
                "UPDATE jobs SET checked_at = checked_at WHERE id = ?", [(id_,) for id_ in below]
            ),
            fail_unless("id = ? AND finished_at IS NULL", [(id_, (id_,)) for id_ in below]),
            *(
                Statement(
                    "UPDATE jobs SET "
                    f"total_chunks = total_chunks + ? * {sums.format('chunk_count')}, "
                    f"total_items = total_items + ? * {sums.format('item_count')} WHERE id = ?",
                    (times, *of_upload, times, *of_upload, id_),
                )
                for id_, times in who.times.items()
            ),
            *_chunks_of_uploads(_IS_SEALED, *of_upload, owners=who.owners),
        ]
        try:
            sealed, *_ = await self._database.write(*script)
        except UniqueViolation:
            return False
        return bool(sealed)


def _script(job: NewJob, tenant: TenantId, data: Data) -> list[Statement | Batch]:
    now, move = now_ms(), RECORD if data is not None else RECEIVE
    # Of an upload that was given up meanwhile, nothing is recorded.
    source, upload = "", tuple[Value, ...]()
    if isinstance(data, Upload):
        source, upload = f"FROM uploads WHERE {IS_OPEN}", (*data.id, tenant)
    script: list[Statement | Batch] = []
    if job.key is not None:
        # First, so that of two racing requests the second waits and then fails here.
        claim = Statement(
            "INSERT INTO idempotency_keys (tenant, name, body_hash, job_id, created_at) "
            f"SELECT ?, ?, ?, ?, ? {source}",
            (tenant, job.key.key, job.key.body_hash, job.id, now, *upload),
        )
        script.append(claim)
    nodes = laid_out(job, data)
    if data is None:  # what has arrived is counted, until it is sealed
        nodes[0].chunks = nodes[0].items = 0
    totals = "?, ?"
    if upload:
        totals = "? + ? * chunk_count, ? + ? * item_count"
    insert = (
        "INSERT INTO jobs (id, tenant, state, run, spec, controls, created_at, checked_at, "
        "keep_ms, claimed_until, parent_id, root_id, path, position, last_position, sub_jobs, "
        "has_compensation, started_by_gateway, total_chunks, total_items) "
        "SELECT ?, ?, ?, 1, ?, ?, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), "
        f"CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?, {totals} {source}"
    )
    rows = [
        (
            *(node.id, tenant, move.after if node.parent is None else RECORD.after),
            *(node.spec.to_json(node.controls), node.controls.to_json(node.spec)),
            *(now, now, job.keep_ms, _unclaimed_until(job, now) if not node.parent else 0),
            *(node.parent, job.id if node.parent else None, node.path),
            *(node.position, node.last_position, node.sub_jobs),
            *(int(node.spec.compensate is not None), int(node.parent is None)),
            *node.totals(has_upload=bool(upload)),
            *upload,
        )
        for node in nodes
    ]
    # Most jobs are not made of any: for one row nothing is prepared.
    script.append(Statement(insert, rows[0]) if len(rows) == 1 else Batch(insert, rows))
    script.append(
        Batch(
            f"INSERT INTO job_ancestors (job_id, ancestor_id) SELECT ?, ? {source}",
            [(node.id, ancestor, *upload) for node in nodes for ancestor in node.ancestors],
        )
    )
    for node in nodes:
        if node.controls.max_per_second is not None:
            is_there = "EXISTS (SELECT 1 FROM jobs WHERE id = ?)"
            script += pace_of(node.id, node.controls, is_there, (node.id,))
    script.append(
        Batch(
            f"INSERT INTO job_labels (tenant, name, value, job_id) SELECT ?, ?, ?, ? {source}",
            [
                (tenant, name, value, node.id, *upload)
                for node in nodes
                for name, value in node.controls.labels.items()
            ],
        )
    )
    script += _chunks_of_rows(
        nodes, tenant, f"SELECT {{}} {source}" if upload else "VALUES ({})", upload
    )
    if isinstance(data, Upload):
        script += _chunks_of_uploads(
            IS_OPEN,
            *upload,
            owners=[node.id for node in nodes if node.source == job.id and not node.sub_jobs],
        )
    return script


def _unclaimed_until(job: NewJob, now: int) -> int:
    """Until when no gateway takes the job for its own to start."""
    starts_at = job.controls.start_at or 0
    return max(starts_at, now) + job.own_start_ms if job.own_start_ms else starts_at


@dataclass(slots=True, kw_only=True)
class _Node:
    """A job in its tree."""

    id: JobId
    spec: JobSpec
    controls: Controls
    parent: JobId | None
    path: str | None
    ancestors: tuple[JobId, ...]
    position: int
    last_position: int
    sub_jobs: int
    own: Sequence[NewChunk]
    """Its own data, which is for those below where it is made of jobs itself."""
    source: JobId | None
    """The job whose data its chunks are; None where it has none."""
    chunks: int = 0
    items: int = 0
    """Of all below it."""
    uploads: int = 0
    """How many below it get the upload, or it is one itself."""

    def totals(self, *, has_upload: bool) -> tuple[int, ...]:
        if has_upload:
            return self.chunks, self.uploads, self.items, self.uploads
        return self.chunks, self.items


def laid_out(job: NewJob, data: Data) -> "list[_Node]":
    """The job and all below it, each before its sub-jobs, with their numbers and totals."""
    nodes: list[_Node] = []
    rows = () if data is None or isinstance(data, Upload) else data

    def add(
        given: NewJob | NewSubJob,
        above: _Node | None,
        path: str | None,
        own: Sequence[NewChunk] | None,
    ) -> None:
        source: JobId | None = None
        if own is not None or above is None:
            source = given.id
        elif not given.spec.has_previous_input:
            source = above.source
        node = _Node(
            id=given.id,
            spec=given.spec,
            controls=given.controls,
            parent=above.id if above else None,
            path=path,
            ancestors=(*above.ancestors, above.id) if above else (),
            position=len(nodes) if above else 0,
            last_position=0,
            sub_jobs=len(given.jobs),
            own=own or (),
            source=source,
        )
        node.position = above.last_position + 1 if above else 0
        nodes.append(node)
        node.last_position = node.position
        data_of[node.id] = node.own or (data_of.get(source, ()) if source else ())
        if not given.jobs:
            chunks = () if given.spec.has_previous_input else data_of[node.id]
            node.chunks = len(chunks)
            node.items = sum(chunk.item_count for chunk in chunks)
            node.uploads = int(isinstance(data, Upload) and node.source == job.id and not chunks)
        for sub in given.jobs:
            below = f"{path}/{sub.name}" if path else sub.name
            add(sub, node, below, sub.data)
        if given.spec.compensate is not None:
            node.last_position += 1  # kept for the job that compensates
        if above is not None:
            above.last_position = node.last_position
            above.chunks += node.chunks
            above.items += node.items
            above.uploads += node.uploads

    data_of: dict[JobId, Sequence[NewChunk]] = {}
    add(job, None, None, rows)
    return nodes


def _chunks_of_rows(
    nodes: Sequence[_Node], tenant: TenantId, row: str, upload: Sequence[Value]
) -> list[Batch]:
    own = {node.id: node.own for node in nodes}
    return [
        Batch(
            "INSERT INTO chunks (job_id, idx, tenant, state, item_count, inputs_of) "
            f"{row.format(f'?, ?, ?, {_CHUNK}, ?, CAST(? AS TEXT)')}",
            [
                (
                    *(node.id, index, tenant, chunk.item_count),
                    node.source if node.source != node.id else None,
                    *upload,
                )
                for node in nodes
                if not node.sub_jobs and node.source is not None
                for index, chunk in enumerate(own[node.source])
            ],
        ),
        Batch(
            f"INSERT INTO inputs (job_id, idx, stage, tenant, body) {row.format('?, ?, 0, ?, ?')}",
            [
                (node.id, index, tenant, chunk.body, *upload)
                for node in nodes
                for index, chunk in enumerate(node.own)
            ],
        ),
    ]


def _chunks_of_uploads(
    which: str, job_id: Value, *others: Value, owners: Sequence[Value]
) -> list[Statement]:
    """Makes what these uploads of a job have stored chunks, by part and place.

    They are those of the owners: the job itself, or sub-jobs that get its data. The last
    statement gives a row for each of the uploads.
    """
    parameters = (job_id, *others)
    return [
        *(
            Statement(
                "INSERT INTO chunks (job_id, idx, tenant, state, item_count, input_at, inputs_of) "
                "SELECT CAST(? AS TEXT), "
                "ROW_NUMBER() OVER (ORDER BY uploads.part, received.place) - 1, "
                f"uploads.tenant, {_CHUNK}, received.item_count, received.place, "
                "CAST(? AS TEXT) "
                "FROM received_chunks AS received JOIN uploads ON uploads.job_id = "
                f"received.job_id AND uploads.number = received.upload WHERE {which}",
                (owner, job_id if owner != job_id else None, *parameters),
            )
            for owner in owners
        ),
        Statement(
            "DELETE FROM received_chunks WHERE job_id = ? AND upload IN "
            f"(SELECT number FROM uploads WHERE {which})",
            (job_id, *parameters),
        ),
        Statement(f"DELETE FROM uploads WHERE {which} RETURNING number", parameters),
    ]
