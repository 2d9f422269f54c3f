"""Items are what counts: chunks that succeeded in part, items left out, why user code failed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STATES = ("running", "succeeded", "partially_succeeded", "failed", "cancelled")
_ADDED = ("partially_succeeded", "items_dropped")
_COUNTED = (*_STATES, "items_succeeded", "items_failed", "items_dropped")


def upgrade() -> None:
    """Add columns and indexes, and count what is new; the release before goes on beside them."""
    # Of the items that failed, how many were left out on purpose.
    _add_count("chunks", "items_dropped")
    # Whether each place of the chunk's output is an item's; null before a stage is done.
    op.add_column("chunks", sa.Column("by_item", sa.Integer))
    # Of the chunk's error: the last frames of the user's code.
    op.add_column("chunks", sa.Column("error_traceback", sa.Text))
    for name in _ADDED:
        _add_count("job_counts", name)
    # Those of which something went wrong, with all columns that they are looked for by, so that
    # nothing else is read. One index, and a condition that compares numbers first: it is
    # worked out at every change of every chunk. No chunk without items ever fails.
    op.drop_index("chunks_unsuccessful", "chunks")
    where = sa.text("(items_failed > 0 OR state = 'cancelled')")
    op.create_index(
        "chunks_unsuccessful",
        "chunks",
        ["job_id", "state", "idx", "items_failed"],
        sqlite_where=where,
        postgresql_where=where,
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGER if is_sqlite else _POSTGRESQL_TRIGGER:
        op.execute(statement)


def _add_count(table: str, name: str) -> None:
    op.add_column(table, sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))


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
_ZEROS = ", ".join("0" for _ in _COUNTED[1:])
# Nearly all changes are of two kinds, which have a short way of their own: of a quick chunk the
# long one takes as long as all else that the ledger does.
_BEGINS = "OLD.state = 'pending' AND NEW.state = 'running'"
_SUCCEEDS = "OLD.state = 'running' AND NEW.state = 'succeeded'"
_SQLITE_TRIGGER = (
    "DROP TRIGGER chunks_counted",
    f"""
    CREATE TRIGGER chunks_begun AFTER UPDATE OF state ON chunks WHEN {_BEGINS}
    BEGIN
        INSERT INTO job_counts (job_id, slot, {", ".join(_COUNTED)})
        VALUES (NEW.job_id, 0, 1, {_ZEROS})
        ON CONFLICT (job_id, slot) DO UPDATE SET running = running + 1;
    END
    """,
    f"""
    CREATE TRIGGER chunks_succeeded AFTER UPDATE OF state ON chunks WHEN {_SUCCEEDS}
    BEGIN
        UPDATE job_counts SET running = running - 1, succeeded = succeeded + 1,
            items_succeeded = items_succeeded + NEW.item_count - NEW.items_failed,
            items_failed = items_failed + NEW.items_failed,
            items_dropped = items_dropped + NEW.items_dropped
        WHERE job_id = NEW.job_id AND slot = 0;
    END
    """,
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
