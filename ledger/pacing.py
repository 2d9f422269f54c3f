"""How many chunks of a job may start a second: one row a job, which all its workers share.

A start is a turn. Turns of a job are `1 / per_second` apart, and each is given once, to whoever
asks first: the rule by which the generic cell rate algorithm (ITU-T I.371) spaces cells. A turn
is asked for right before it is used, and not much before its time, so none is hoarded; one that
was not used is lost. Jobs without a limit have no row, and ask for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import Controls
from fanfold.contract.names import JobId
from fanfold.ledger.database import Statement, Value
from fanfold.ledger.records import now_ms
from fanfold.ledger.tenancy import JOB_IS_OURS, OfTenant

HORIZON_MS = 250.0
"""Turns are given out at most so long before their time: a change of the rate takes effect after
that."""


SAVED_MS = 250.0
"""Of turns that nobody took in time, as many are made up for as fall due in so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """When chunks may start."""

    in_seconds: list[float]
    """From now, soonest first; fewer than were wanted where the next ones are too far off yet."""
    more_in_seconds: float
    """When to ask for more."""


class Pacing(OfTenant):
    """Gives out turns. Every method raises LedgerUnavailable."""

    async def take_turns(self, job_id: JobId, wanted: int) -> Turns | None:
        """Up to `wanted` of the next turns; None where the job has no limit."""
        now = float(now_ms())
        until = now + HORIZON_MS
        earliest = now - SAVED_MS
        next_at = "CASE WHEN next_at > ? THEN next_at ELSE ? END"
        # So many that the last of them is within the horizon, and at least one.
        most = f"CAST(FLOOR((? - ({next_at})) * per_second / 1000.0) AS BIGINT) + 1"
        given = f"CASE WHEN {most} < ? THEN {most} ELSE ? END"
        of_given = (until, earliest, earliest, wanted, until, earliest, earliest, wanted)
        this = (job_id, job_id, self._tenant)
        taken, found = await self._database.write(
            Statement(
                f"UPDATE job_paces SET given = {given}, "
                f"next_at = ({next_at}) + ({given}) * 1000.0 / per_second "
                f"WHERE job_id = ? AND {JOB_IS_OURS} AND next_at <= ? "
                "RETURNING next_at, given, per_second",
                (*of_given, earliest, earliest, *of_given, *this, until),
            ),
            Statement(f"SELECT next_at FROM job_paces WHERE job_id = ? AND {JOB_IS_OURS}", this),
        )
        if not found:
            return None
        return Turns(
            in_seconds=[
                max(0.0, row["next_at"] - now - left * 1000.0 / row["per_second"]) / 1000
                for row in taken
                for left in range(row["given"], 0, -1)
            ],
            more_in_seconds=max(0.0, found[0]["next_at"] - until) / 1000,
        )


def pace_of(
    job_id: JobId, controls: Controls, condition: str, parameters: Sequence[Value]
) -> tuple[Statement, ...]:
    """The statements that give the job the pace of these controls, where the condition holds."""
    if controls.max_per_second is None:
        return (
            Statement(
                f"DELETE FROM job_paces WHERE job_id = ? AND {condition}", (job_id, *parameters)
            ),
        )
    return (
        Statement(
            "INSERT INTO job_paces (job_id, per_second, next_at) "
            f"SELECT ?, CAST(? AS DOUBLE PRECISION), CAST(? AS DOUBLE PRECISION) WHERE {condition} "
            "ON CONFLICT (job_id) DO UPDATE SET per_second = excluded.per_second, "
            # A turn that was far off at the rate before does not hold up the new one.
            "next_at = CASE WHEN excluded.per_second <> job_paces.per_second "
            "AND excluded.next_at < job_paces.next_at "
            "THEN excluded.next_at ELSE job_paces.next_at END",
            (job_id, controls.max_per_second, float(now_ms()), *parameters),
        ),
    )
