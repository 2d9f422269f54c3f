"""Jobs made of jobs: where a job stands in its tree, shared inputs, counts of whole trees."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_STATES = ("running", "succeeded", "partially_succeeded", "failed", "cancelled", "held")
_COUNTED = (*_STATES, "items_succeeded", "items_failed", "items_dropped")
_IS_ROOT = "parent_id IS NULL"
_UNFINISHED = (
    "state IN ('pending', 'running', 'paused', 'waiting', 'cancelling') "
    "AND (started_by_gateway = 1 OR checked_at = 0)"
)
_UNDER_WAY = (
    "workflow_started_at IS NOT NULL AND finished_at IS NULL "
    "AND state NOT IN ('paused', 'waiting') AND started_by_gateway = 1"
)
_PENDING = "state = 'pending' AND due_at IS NULL"
_TO_START = "state = 'pending' AND workflow_started_at IS NULL AND started_by_gateway = 1"


def upgrade() -> None:
    """Add columns, a table and indexes, and count for all jobs above a job."""
    _add_columns()
    # All jobs above a job: what becomes of its chunks is counted for each of them.
    op.create_table(
        "job_ancestors",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("ancestor_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    _create_index("jobs_of_parent", ["parent_id", "position", "state"], "parent_id IS NOT NULL")
    _create_index("jobs_of_root", ["root_id", "position"], "root_id IS NOT NULL")
    for name, columns, condition in (
        ("jobs_by_tenant", ["tenant", "id"], _IS_ROOT),
        ("jobs_by_state", ["tenant", "state", "id"], _IS_ROOT),
        ("jobs_unfinished", ["state", "checked_at"], _UNFINISHED),
        ("jobs_to_start", ["id"], _TO_START),
        ("jobs_under_way", ["id", "total_chunks"], _UNDER_WAY),
        ("jobs_finished", ["finished_at"], f"finished_at IS NOT NULL AND {_IS_ROOT}"),
        ("jobs_expiring", ["expires_at"], f"expires_at IS NOT NULL AND {_IS_ROOT}"),
    ):
        op.drop_index(name, "jobs")
        _create_index(name, columns, condition)
    # With all that is asked of chunks that wait: else SQLite, which has no statistics, may take
    # the table for the shorter way, and reads all of a job's chunks before the first that waits.
    op.drop_index("chunks_pending", "chunks")
    _create_index("chunks_pending", ["job_id", "idx", "state", "due_at"], _PENDING, table="chunks")
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGERS if is_sqlite else _POSTGRESQL_TRIGGER:
        op.execute(statement)


def _add_columns() -> None:
    # Null where the job is not part of another one.
    for name in ("parent_id", "root_id", "path"):
        op.add_column("jobs", sa.Column(name, sa.Text))
    # Its number in the tree, a parent before its sub-jobs, and that of the last one below it.
    # How many sub-jobs it was recorded with. Whether it says how to undo what its chunks did.
    # And of a job that undoes: which run of its parent.
    for name in ("position", "last_position", "sub_jobs", "has_compensation", "compensates_run"):
        op.add_column("jobs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    # Whether gateways start it and look after it. A sub-job's parent does that; gateways only
    # tell it of what controls have changed, or cancel it: then `checked_at` is 0.
    op.add_column(
        "jobs", sa.Column("started_by_gateway", sa.Integer, nullable=False, server_default="1")
    )
    # The job whose inputs are the chunk's at its first stage; null where that is its own.
    op.add_column("chunks", sa.Column("inputs_of", sa.Text))


def _create_index(name: str, columns: list[str], condition: str, table: str = "jobs") -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _now(name: str, row: str) -> str:
    """What one chunk, `NEW.` or `OLD.` in a trigger, adds to a count."""
    if name in _STATES:
        return f"CASE WHEN {row}state = '{name}' THEN 1 ELSE 0 END"
    value = f"{row}{name}"
    if name == "items_succeeded":
        value = f"{row}item_count - {row}items_failed"
    return (
        f"CASE WHEN {row}state IN ('succeeded', 'partially_succeeded', 'failed') "
        f"THEN {value} ELSE 0 END"
    )


def _changes(new: str, old: str) -> list[str]:
    return [f"({_now(name, new)}) - ({_now(name, old)})" for name in _COUNTED]


_SUMMED = ", ".join(f"{name} = job_counts.{name} + excluded.{name}" for name in _COUNTED)
# Beside the triggers that count for the job itself.
_SQLITE_TRIGGERS = (
    f"""
    CREATE TRIGGER chunks_counted_above AFTER UPDATE OF state ON chunks
    WHEN OLD.state <> NEW.state
        AND EXISTS (SELECT 1 FROM job_ancestors WHERE job_ancestors.job_id = NEW.job_id)
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        SELECT ancestor_id, 0, {", ".join(_changes("NEW.", "OLD."))}
        FROM job_ancestors WHERE job_ancestors.job_id = NEW.job_id
        ON CONFLICT (job_id, slot) DO UPDATE SET {_SUMMED};
    END
    """,
)
_POSTGRESQL_TRIGGER = (
    f"""
    CREATE OR REPLACE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        SELECT counted_for.id, pg_backend_pid(),
            {", ".join(f"SUM(changed.{name})" for name in _COUNTED)}
        FROM (
            SELECT job_id, {
        ", ".join(
            f"SUM({change}) AS {name}"
            for name, change in zip(_COUNTED, _changes("is_now.", "was."), strict=True)
        )
    }
            FROM old_chunks AS was JOIN new_chunks AS is_now USING (job_id, idx)
            WHERE was.state <> is_now.state GROUP BY job_id
        ) AS changed CROSS JOIN LATERAL (
            SELECT changed.job_id AS id UNION ALL
            SELECT ancestor_id FROM job_ancestors WHERE job_ancestors.job_id = changed.job_id
        ) AS counted_for
        -- In one order, whoever else counts for the same jobs.
        GROUP BY counted_for.id ORDER BY counted_for.id
        ON CONFLICT (job_id, slot) DO UPDATE SET {_SUMMED};
        RETURN NULL;
    END
    $body$
    """,
)
