"""The statement by which a block's lanes claim chunks: which come next, and who may have them."""

from functools import lru_cache

from fanfold.ledger.database import Database
from fanfold.ledger.transitions import BEGIN

BEGIN_ATTEMPT = (
    f"UPDATE chunks SET {BEGIN.change}, stage_attempts = stage_attempts + 1, "
    # A chunk's attempts are its runs from the client's view: moving on to the
    # next stage is no further attempt, repeating a stage is.
    "attempts = attempts + CASE WHEN stage = 0 OR stage_attempts > 0 THEN 1 ELSE 0 END, "
    "started_at = COALESCE(started_at, ?), due_at = NULL, fence = fence + 1, "
)
JOB_RUNS = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND jobs.state = 'running' AND jobs.run = ?)"
)
BLOCK_IS_FENCED = (
    "EXISTS (SELECT 1 FROM block_runs WHERE block_runs.job_id = ? AND block_runs.block = ? "
    "AND block_runs.number > ?)"
)
# Nothing that comes after a chunk which waits for another attempt.
_NONE_WAITS = (
    "AND NOT EXISTS (SELECT 1 FROM chunks AS waiting WHERE waiting.job_id = chunks.job_id "
    "AND waiting.state = 'pending' AND waiting.due_at IS NOT NULL)"
)


def claiming(database: Database, *, is_in_order: bool) -> str:
    """Begins attempts at the next chunks; with `is_in_order` at none while another one waits."""
    return _claiming(database.skip_locked, database.among, _NONE_WAITS if is_in_order else "")


@lru_cache
def _claiming(skip_locked: str, among: str, fresh: str) -> str:
    return (
        # What waited for another attempt goes first, so that its wait is kept.
        "WITH due AS MATERIALIZED (SELECT idx FROM chunks WHERE job_id = ? "
        "AND state = 'pending' AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at "
        f"LIMIT ? {skip_locked}), fresh AS MATERIALIZED (SELECT idx FROM chunks "
        f"WHERE job_id = ? AND state = 'pending' AND due_at IS NULL AND idx > ? {fresh} "
        f"ORDER BY idx LIMIT ? {skip_locked}), taken AS MATERIALIZED (SELECT idx FROM "
        "(SELECT idx, 0 AS turn FROM due UNION ALL SELECT idx, 1 AS turn FROM fresh) AS next "
        f"ORDER BY turn, idx LIMIT ?) {BEGIN_ATTEMPT} token = CAST(? AS BIGINT) + idx, block = ? "
        f"WHERE job_id = ? AND tenant = ? AND {BEGIN.condition} "
        f"AND idx {among.format('SELECT idx FROM taken')} "
        f"AND {JOB_RUNS} AND NOT {BLOCK_IS_FENCED} "
        "AND NOT EXISTS (SELECT 1 FROM chunks AS claimed WHERE claimed.job_id = ? "
        "AND claimed.state = 'running' AND claimed.token BETWEEN ? AND ?)"
    )
