"""Steering: jobs that wait, chunks that are held, runs, attempts, and what controls leave."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_STATES = ("running", "succeeded", "partially_succeeded", "failed", "cancelled", "held")
_COUNTED = (*_STATES, "items_succeeded", "items_failed", "items_dropped")
_UNFINISHED = "state IN ('pending', 'running', 'paused', 'waiting', 'cancelling')"
_UNDER_WAY = (
    "workflow_started_at IS NOT NULL AND finished_at IS NULL AND state NOT IN ('paused', 'waiting')"
)


def upgrade() -> None:
    """Add columns, tables and indexes, and count what is held."""
    _add_columns()
    _create_tables()
    _replace_index("jobs_unfinished", "jobs", ["state", "checked_at"], _UNFINISHED)
    _replace_index("jobs_under_way", "jobs", ["id", "total_chunks"], _UNDER_WAY)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGER if is_sqlite else _POSTGRESQL_TRIGGER:
        op.execute(statement)


def _add_columns() -> None:
    # How often a control changed what the job's workflow goes by, and up to which of them it
    # was told.
    for name in ("changes", "changes_told"):
        op.add_column("jobs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    # Whether a job that is being cancelled lets chunks finish that have begun.
    op.add_column("jobs", sa.Column("is_draining", sa.Integer, nullable=False, server_default="0"))
    # Since when only held chunks are left.
    op.add_column("jobs", sa.Column("waiting_since", sa.BigInteger))
    # The first tolerance that was exceeded while the job ran, and the chunk that did it.
    op.add_column("jobs", sa.Column("stop_rule", sa.Text))
    op.add_column("jobs", sa.Column("stop_index", sa.Integer))
    # The job's run in which the chunk ran last, or is to run.
    op.add_column("chunks", sa.Column("run", sa.Integer, nullable=False, server_default="1"))
    # Of a chunk that is to run again: the state it was in. Null once it has an outcome.
    op.add_column("chunks", sa.Column("kept_from", sa.Text))
    # Who has given the result, where it was not a processor.
    op.add_column("chunks", sa.Column("resolved_by", sa.Text))
    op.add_column(
        "job_counts", sa.Column("held", sa.BigInteger, nullable=False, server_default="0")
    )


def _create_tables() -> None:
    # Attempts that failed, and the last one of a chunk that had others before it.
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("idx", sa.Integer, primary_key=True),
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("stage", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_retryable", sa.Integer),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    # How the earlier runs of a job ended.
    op.create_table(
        "job_runs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("controls", sa.Text),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    # What chunks that are to run again have given before: for items that do not run again, and
    # for chunks that come to nothing this time.
    op.create_table(
        "kept_outputs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("idx", sa.Integer, primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.Column("item_errors", sa.Text),
        sa.Column("by_item", sa.Integer),
        sa.Column("result_bytes", sa.Integer, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("stage_attempts", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("resolved_by", sa.Text),
        sa.Column("kept_at", sa.BigInteger, nullable=False),
        # Whether only some of its items run again: those that did not succeed, or those whose
        # positions are in this JSON array.
        sa.Column("is_resumed", sa.Integer, nullable=False),
        sa.Column("items_again", sa.Text),
    )
    # Children that a client has cancelled while they ran.
    op.create_table(
        "child_cancels",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("idx", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    # Of a job that may start so many chunks a second: when the next one may start, in
    # milliseconds since 1970.
    op.create_table(
        "job_paces",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("per_second", sa.Double, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        # How many starts the last who asked was given.
        sa.Column("given", sa.BigInteger, nullable=False, server_default="0"),
    )
    # Of a job that bears so many failures in a row: how many there were last, and at most.
    op.create_table(
        "job_streaks",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("streak", sa.BigInteger, nullable=False),
        sa.Column("longest", sa.BigInteger, nullable=False),
    )
    # Blocks that were started with more lanes than they may have now.
    op.create_table(
        "block_lanes",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("block", sa.Text, primary_key=True),
        sa.Column("lanes", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )


def _replace_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.drop_index(name, table)
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
_BEGINS = "OLD.state = 'pending' AND NEW.state = 'running'"
_SUCCEEDS = "OLD.state = 'running' AND NEW.state = 'succeeded'"
# Beginning and succeeding go their own short ways, as before.
_SQLITE_TRIGGER = (
    "DROP TRIGGER chunks_counted",
    f"""
    CREATE TRIGGER chunks_counted AFTER UPDATE OF state ON chunks
    WHEN OLD.state <> NEW.state AND NOT ({_BEGINS}) AND NOT ({_SUCCEEDS})
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        VALUES (NEW.job_id, 0, {", ".join(_changes("NEW.", "OLD."))})
        ON CONFLICT (job_id, slot) DO UPDATE SET {_SUMMED};
    END
    """,
)
_POSTGRESQL_TRIGGER = (
    f"""
    CREATE OR REPLACE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        SELECT job_id, pg_backend_pid(),
            {", ".join(f"SUM({change})" for change in _changes("is_now.", "was."))}
        FROM old_chunks AS was JOIN new_chunks AS is_now USING (job_id, idx)
        WHERE was.state <> is_now.state GROUP BY job_id
        ON CONFLICT (job_id, slot) DO UPDATE SET {_SUMMED};
        RETURN NULL;
    END
    $body$
    """,
)
