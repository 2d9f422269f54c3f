"""A real ledger whose operations fail, or wait, at a moment that a test chooses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fanfold.contract.names import DEFAULT_TENANT
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable

Operation = Callable[..., Awaitable[Any]]


class UnsteadyLedger:
    """The same database as the ledger given, behind operations that can be disturbed."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = Ledger(ledger.database, ledger.id)
        self.failures = 0
        """How often an operation was met with an outage."""

    def fail(self, operation: str, *, times: int) -> None:
        """Have `jobs.open`, say, fail so many times before it works again."""
        left = times

        async def disturb() -> None:
            nonlocal left
            if left:
                left -= 1
                self.failures += 1
                raise LedgerUnavailable("the database is away")

        self._disturb(operation, disturb)

    def hold(self, operation: str) -> "Held":
        """Have the operation wait from now on until it is let go."""
        held = Held()

        async def disturb() -> None:
            held.has_begun.set()
            await held.may_go_on.wait()

        self._disturb(operation, disturb)
        return held

    def _disturb(self, operation: str, disturb: Callable[[], Awaitable[None]]) -> None:
        part_name, _, name = operation.partition(".")
        ledger = self.ledger if hasattr(self.ledger, part_name) else self.ledger.of(DEFAULT_TENANT)
        part = getattr(ledger, part_name)
        undisturbed: Operation = getattr(part, name)

        async def disturbed(*arguments: Any, **options: Any) -> Any:
            await disturb()
            return await undisturbed(*arguments, **options)

        setattr(part, name, disturbed)


class Held:
    """An operation on hold."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.may_go_on = asyncio.Event()
