"""Ends jobs that have not begun, many at once: what they are made of too never will."""

from collections.abc import Sequence

from fanfold.ledger.database import Statement, Value
from fanfold.ledger.records import now_ms
from fanfold.ledger.transitions import (
    CLOSE_CANCELLED,
    SETTLE,
    SKIP,
    STOP_WITH_PARENT,
    in_states,
)

# Of those that a redrive has reset, chunks may have to be restored: these are ended one by one.
# And what undoes things is never ended with what it undoes.
_UNBEGUN = "started_at IS NULL AND run = 1 AND compensates_run = 0"
NEVER_BEGAN = f"{in_states((*STOP_WITH_PARENT.before, *CLOSE_CANCELLED.before))} AND {_UNBEGUN}"
"""The condition on jobs that are ended here."""

SUB_JOB_IS_OPEN = (
    "EXISTS (SELECT 1 FROM jobs AS below WHERE below.parent_id = jobs.id "
    # One that gateways see to needs no parent: what undoes, where that was run again.
    "AND below.finished_at IS NULL AND below.started_by_gateway = 0)"
)
"""The condition on jobs that one which they are made of is open: such a job does not end."""

UNBEGUN_SUMMARY = (
    """'{"counts": {"cancelled": ' || total_chunks || '}, "errors": [], "error": null}'"""
)
"""What `Closing` would write of such a job, as SQL."""


def end_unbegun(which: str, parameters: Sequence[Value], tenant: str) -> list[Statement]:
    """Cancels those of these jobs that have not begun, with their chunks."""
    now = now_ms()
    return [
        # First: whoever is about to open one of them waits here, and then finds it ended.
        Statement(
            f"UPDATE jobs SET {STOP_WITH_PARENT.change}, finished_at = ?, "
            f"summary = {UNBEGUN_SUMMARY} WHERE ({which}) AND tenant = ? AND {NEVER_BEGAN}",
            (now, *parameters, tenant),
        ),
        Statement(
            f"UPDATE chunks SET {SETTLE.change}, finished_at = ?, fence = fence + 1 "
            f"WHERE {SETTLE.condition} AND job_id IN (SELECT id FROM jobs WHERE ({which}) "
            # Also those of one that was just skipped.
            f"AND tenant = ? AND {in_states((STOP_WITH_PARENT.after, SKIP.after))} "
            f"AND {_UNBEGUN})",
            (now, *parameters, tenant),
        ),
    ]
