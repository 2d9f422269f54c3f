"""Handles many jobs in one round; an error at one does not affect the others."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fanfold.app.loops.silences import Silences
from fanfold.app.temporal.calls import CallRefused

Entry = TypeVar("Entry")

_log = logging.getLogger("fanfold.gateway")


@dataclass(slots=True)
class Attempted(Generic[Entry]):
    """What came of the entries."""

    done: list[Entry] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)
    """Each for a reason of its own, which was logged."""
    unreached: list[Entry] = field(default_factory=list)
    """Temporal or the ledger could not be reached."""
    unavailable: Exception | None = None
    """Why entries were not reached."""


class EachApart:
    """Does something for each of many entries, and logs what fails at growing intervals."""

    def __init__(
        self,
        what: str,
        *,
        unavailable: tuple[type[Exception], ...],
        silences: Silences | None = None,
    ) -> None:
        """Take what is done, in words, and the errors that would hit all other entries too."""
        self._what = what
        self._unavailable = unavailable
        self._silences = silences or Silences()

    async def attempt(
        self,
        entries: Sequence[Entry],
        do: Callable[[Entry], Coroutine[Any, Any, None]],
        name: Callable[[Entry], str],
    ) -> Attempted[Entry]:
        """Do it for all at once."""
        attempted: Attempted[Entry] = Attempted()
        outcomes = await asyncio.gather(*map(do, entries), return_exceptions=True)
        for entry, error in zip(entries, outcomes, strict=True):
            if error is None:
                attempted.done.append(entry)
            elif isinstance(error, self._unavailable):
                attempted.unreached.append(entry)
                attempted.unavailable = error
            else:
                attempted.failed.append(entry)
                self._complain(name(entry), error)
        return attempted

    def _complain(self, name: str, error: BaseException) -> None:
        """Log an error, unless the same one was logged lately, at whichever entry."""
        seconds = self._silences.broken_by(error)
        if seconds is None:
            return
        _log.error(
            "%s %s failed: %s (the same error is not logged again for %g seconds)",
            *(self._what, name, error, seconds),
            # A refused call says what to do; a defect needs its traceback.
            exc_info=None if isinstance(error, CallRefused) else error,
        )
