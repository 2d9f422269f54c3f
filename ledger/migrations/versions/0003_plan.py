"""The ledger plans: chunks are claimed and fenced, jobs have a revision, the ledger an id."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# What a client can see of a job, and what workers go by; not when it was last looked at.
_REVISED = "state, run, spec, controls, total_chunks, total_items, started_at, finished_at, summary"


def upgrade() -> None:
    """Add columns, indexes and triggers; the release before goes on beside them."""
    # Rises with everything that takes a chunk from whoever runs it.
    op.add_column("chunks", sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"))
    # Of a chunk that waits for its next attempt: when that is due.
    op.add_column("chunks", sa.Column("due_at", sa.BigInteger))
    # Of a running chunk: which call began the attempt, and the block that it runs in.
    op.add_column("chunks", sa.Column("token", sa.BigInteger))
    op.add_column("chunks", sa.Column("block", sa.BigInteger))
    # Each chunk is in one of these at most, so that a plain one costs few changes of an index.
    op.drop_index("chunks_by_state", "chunks")
    for name, columns, condition in (
        ("chunks_pending", ["job_id", "idx"], "state = 'pending' AND due_at IS NULL"),
        ("chunks_due", ["job_id", "due_at"], "state = 'pending' AND due_at IS NOT NULL"),
        ("chunks_unsuccessful", ["job_id", "state", "idx"], "state IN ('failed', 'cancelled')"),
    ):
        _create_partial_index(name, "chunks", columns, condition)
    # Unique, which no two calls' tokens are not anyway: else SQLite, which keeps no statistics
    # here, takes all of a job's chunks to be as few as those of one token.
    _create_partial_index(
        "chunks_running", "chunks", ["job_id", "token"], "state = 'running'", unique=True
    )
    # What may change while the job runs; null where the release before recorded the job.
    op.add_column("jobs", sa.Column("controls", sa.Text))
    op.add_column("jobs", sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"))
    # Until then another gateway is at it: starts it, checks it, cancels it.
    op.add_column(
        "jobs", sa.Column("claimed_until", sa.BigInteger, nullable=False, server_default="0")
    )
    _create_partial_index(
        "jobs_to_start", "jobs", ["id"], "state = 'pending' AND workflow_started_at IS NULL"
    )
    _create_partial_index(
        "jobs_under_way",
        "jobs",
        ["id", "total_chunks"],
        "workflow_started_at IS NOT NULL AND finished_at IS NULL",
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGER if is_sqlite else _POSTGRESQL_TRIGGER:
        op.execute(statement)
    # Tells this ledger from every other: a worker on the wrong one takes no work.
    op.create_table("ledger_identity", sa.Column("id", sa.Text, primary_key=True))
    op.execute(f"INSERT INTO ledger_identity (id) VALUES ('{secrets.token_hex(8)}')")


def _create_partial_index(
    name: str, table: str, columns: list[str], condition: str, *, unique: bool = False
) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


_SQLITE_TRIGGER = (
    f"""
    CREATE TRIGGER jobs_revised AFTER UPDATE OF {_REVISED} ON jobs
    WHEN NEW.revision = OLD.revision
    BEGIN
        UPDATE jobs SET revision = OLD.revision + 1 WHERE id = NEW.id;
    END
    """,
)
_POSTGRESQL_TRIGGER = (
    """
    CREATE FUNCTION revise_job() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        NEW.revision := OLD.revision + 1;
        RETURN NEW;
    END
    $body$
    """,
    f"""
    CREATE TRIGGER jobs_revised BEFORE UPDATE OF {_REVISED} ON jobs
    FOR EACH ROW EXECUTE FUNCTION revise_job()
    """,
)
