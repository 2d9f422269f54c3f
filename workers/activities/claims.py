"""What a block writes to the ledger: what became of chunks, and the claims of the next ones.

Lanes that are done at about the same time are served together, by two statements for all that
became of them and two for all that they claim: with quick chunks that is most of what there is
to do. What comes while the ledger writes gathers; an idle ledger writes at once.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fanfold.ledger import outcomes
from fanfold.ledger.database import LedgerFailure
from fanfold.ledger.outcomes import Plain, Script
from fanfold.ledger.records import Attempt
from fanfold.workers.activities.block_run import RunningBlock
from fanfold.workers.attempts import Attempts, Ending, persistently

_TOKEN_BITS = 61


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """What became of an attempt, for the ledger."""

    attempt: Attempt
    script: Script
    plain: Plain | None = None
    """Of a success as that of most chunks, which is written together with others."""

    @classmethod
    def of(cls, attempt: Attempt, ending: Ending) -> "Unrecorded":
        """What this ending is."""
        return cls(attempt, ending.script, ending.plain)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A lane that has nothing to do."""

    unrecorded: Unrecorded | None
    claimed: asyncio.Future[Attempt | None]


class Claims:
    """Claims chunks for the lanes of a block."""

    def __init__(self, run: RunningBlock, attempts: Attempts) -> None:
        """Claim for this block."""
        self._run = run
        self._attempts = attempts
        self._asked: list[_Asked] = []
        self._writing: asyncio.Task[None] | None = None

    async def next(self, unrecorded: Unrecorded | None) -> Attempt | None:
        """The lane's next chunk, if there is one, once what became of its last is recorded."""
        claimed: asyncio.Future[Attempt | None] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(unrecorded, claimed))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await claimed

    async def record(self, unrecorded: Unrecorded | None) -> None:
        """Record what became of an attempt, and claim nothing."""
        if unrecorded is not None:
            script = _script([unrecorded])
            await self._attempts.record(self._run.work, unrecorded.attempt, script)

    async def _write_all(self) -> None:
        """Serve those who ask, until nobody does."""
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._write(asked)
        finally:
            self._writing = None

    async def _write(self, asked: Sequence[_Asked]) -> None:
        try:
            claimed = await self._claim(asked)
        except Exception as error:  # noqa: BLE001 - raised by the lanes that asked
            for one in asked:
                one.claimed.set_exception(error)
            return
        for place, one in enumerate(asked):
            one.claimed.set_result(claimed[place] if place < len(claimed) else None)

    async def _claim(self, asked: Sequence[_Asked]) -> list[Attempt]:
        run, token = self._run, secrets.randbits(_TOKEN_BITS)
        unrecorded = [one.unrecorded for one in asked if one.unrecorded is not None]
        after = _script(unrecorded)
        while True:
            try:
                claimed = await persistently(
                    run.work.claim_some,
                    run.job_id,
                    run.this,
                    token=token,
                    # Other blocks may still run more than their share; each counts.
                    count=1 if run.is_narrowed else len(asked),
                    most_running=run.terms.controls.max_concurrency if run.is_narrowed else None,
                    above=run.highest_claimed,
                    after=after,
                    job_run=run.given.job.run,
                    is_in_order=run.terms.spec.is_in_order,
                )
            except LedgerFailure:
                if not after:
                    raise
                # One of all these is refused; alone each tells whether it is it.
                for one in unrecorded:
                    await self.record(one)
                after = ()
                continue
            # From the first on again where there are no more: some may have been handed back.
            is_all = len(claimed) == len(asked)
            run.highest_claimed = claimed[-1].index if is_all else -1
            return claimed


def _script(unrecorded: Sequence[Unrecorded]) -> Script:
    plain = [one.plain for one in unrecorded if one.plain is not None]
    others = tuple(statement for one in unrecorded for statement in one.script)
    return (*outcomes.succeeded_together(plain), *others) if plain else others
