"""What an attempt at a chunk that a redrive has selected begins with."""

import json
from dataclasses import replace

from fanfold.ledger.database import Database
from fanfold.ledger.records import NO_ERRORS, Attempt, KeptOutput, failure_of, output_of


async def taken_up_again(database: Database, attempt: Attempt) -> Attempt:
    """The attempt with what the chunk has given before, where some of its items do not run again.

    And with how many attempts at the stage are noted already in this run: those before a chunk
    was held.
    """
    this = (attempt.job_id, attempt.index)
    rows = await database.read(
        "SELECT body, item_errors, kept.by_item, items_again, is_resumed, error_type, "
        "error_message, error_retryable, error_traceback, "
        "(SELECT MAX(number) FROM attempts WHERE attempts.job_id = kept.job_id "
        "AND attempts.idx = kept.idx AND attempts.run = ? AND attempts.stage = ? "
        "AND attempts.finished_at <= kept.kept_at) AS noted "
        "FROM kept_outputs AS kept JOIN chunks ON chunks.job_id = kept.job_id "
        "AND chunks.idx = kept.idx WHERE kept.job_id = ? AND kept.idx = ?",
        (attempt.run, attempt.stage, *this),
    )
    if not rows:
        return replace(attempt, is_again=True)
    (kept,) = rows
    again, output = kept["items_again"], None
    if kept["is_resumed"] and kept["by_item"]:
        output = KeptOutput(
            output=output_of(
                kept["body"] or b"", kept["item_errors"] or NO_ERRORS, kept["by_item"]
            ),
            items_again=None if again is None else frozenset(json.loads(again)),
            failure=failure_of(kept),
        )
    return replace(attempt, is_again=True, kept=output, noted_before=kept["noted"] or 0)
