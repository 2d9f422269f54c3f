"""Scale: counts that the database keeps, data received in parts, jobs that are deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_STATES = ("running", "succeeded", "failed", "cancelled")
_COUNTED = (*_STATES, "items_succeeded", "items_failed")


def upgrade() -> None:
    """Add the tables, count what there is, and keep counting by trigger."""
    _create_tables()
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGER if is_sqlite else _POSTGRESQL_TRIGGER:
        op.execute(statement)
    sums = ", ".join(f"SUM({_now(name, '')})" for name in _COUNTED)
    op.execute(
        f"INSERT INTO job_counts (job_id, slot, {', '.join(_COUNTED)}) "
        f"SELECT job_id, 0, {sums} "
        "FROM chunks WHERE job_id IN (SELECT id FROM jobs WHERE finished_at IS NULL) "
        "GROUP BY job_id"
    )


def _create_tables() -> None:
    # A slot is for one writer, so that no two transactions wait for each other's counts.
    op.create_table(
        "job_counts",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("slot", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTED),
        sqlite_with_rowid=False,
    )
    # Blocks that had to be run again: which of their runs may begin chunks.
    op.create_table(
        "block_runs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("block", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    # Data that arrives in parts. Each upload writes its chunks' items to `inputs`, at
    # places of its own; sealing gives each place its chunk, in the order of the parts.
    op.create_table(
        "uploads",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("is_complete", sa.Integer, nullable=False),
        sa.Column("chunk_count", sa.Integer, nullable=False),
        sa.Column("item_count", sa.BigInteger, nullable=False),
        sa.Column("touched_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("uploads_by_touch", "uploads", ["touched_at"])
    op.create_table(
        "received_chunks",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("upload", sa.Integer, primary_key=True),
        sa.Column("place", sa.BigInteger, primary_key=True),
        sa.Column("item_count", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    # Jobs that are gone for clients, and whose rows are still being deleted.
    op.create_table(
        "purges",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
    )
    # Where the chunk's items are in `inputs`; null where that is its index.
    op.add_column("chunks", sa.Column("input_at", sa.BigInteger))
    if op.get_bind().dialect.name == "postgresql":  # to SQLite all integers are long
        op.alter_column("inputs", "idx", type_=sa.BigInteger)
    # For deleting what belongs to a job.
    for table in ("job_labels", "idempotency_keys"):
        op.create_index(f"{table}_by_job", table, ["job_id"])
    # How long to keep it once finished, where the job says so, and when that is over.
    op.add_column("jobs", sa.Column("keep_ms", sa.BigInteger))
    op.add_column("jobs", sa.Column("expires_at", sa.BigInteger))
    for name, column in (("jobs_finished", "finished_at"), ("jobs_expiring", "expires_at")):
        has_one = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "jobs", [column], sqlite_where=has_one, postgresql_where=has_one)
    receiving = sa.text("state = 'receiving'")
    op.create_index(
        "jobs_receiving",
        "jobs",
        ["created_at"],
        sqlite_where=receiving,
        postgresql_where=receiving,
    )


def _now(name: str, row: str) -> str:
    """What one chunk, `NEW.` or `OLD.` in a trigger, adds to a count."""
    if name in _STATES:
        return f"CASE WHEN {row}state = '{name}' THEN 1 ELSE 0 END"
    value = f"{row}items_failed"
    if name == "items_succeeded":
        value = f"{row}item_count - {row}items_failed"
    return f"CASE WHEN {row}state IN ('succeeded', 'failed') THEN {value} ELSE 0 END"


def _changes(new: str, old: str) -> list[str]:
    return [f"({_now(name, new)}) - ({_now(name, old)})" for name in _COUNTED]


_ADDED = ", ".join(f"{name} = job_counts.{name} + excluded.{name}" for name in _COUNTED)
_SQLITE_TRIGGER = (
    f"""
    CREATE TRIGGER chunks_counted AFTER UPDATE OF state ON chunks WHEN OLD.state <> NEW.state
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        VALUES (NEW.job_id, 0, {", ".join(_changes("NEW.", "OLD."))})
        ON CONFLICT (job_id, slot) DO UPDATE SET {_ADDED};
    END
    """,
)
_POSTGRESQL_TRIGGER = (
    f"""
    CREATE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        SELECT job_id, pg_backend_pid(),
            {", ".join(f"SUM({change})" for change in _changes("is_now.", "was."))}
        FROM old_chunks AS was JOIN new_chunks AS is_now USING (job_id, idx)
        WHERE was.state <> is_now.state GROUP BY job_id
        ON CONFLICT (job_id, slot) DO UPDATE SET {_ADDED};
        RETURN NULL;
    END
    $body$
    """,
    """
    CREATE TRIGGER chunks_counted AFTER UPDATE ON chunks
    REFERENCING OLD TABLE AS old_chunks NEW TABLE AS new_chunks
    FOR EACH STATEMENT EXECUTE FUNCTION count_chunks()
    """,
)
