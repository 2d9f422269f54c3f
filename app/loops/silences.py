"""Which errors to log: one that repeats, less and less often."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 3600.0
_REMEMBERED_ERRORS = 1000


@dataclass(slots=True)
class _Silence:
    ends_at: float
    seconds: float


class Silences:
    """Remembers which errors were logged lately."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with none."""
        self._clock = clock
        self._silences: dict[str, _Silence] = {}

    def broken_by(self, error: BaseException) -> float | None:
        """For how many seconds the same error is not logged again; None where it is not now."""
        key, now = f"{type(error).__name__}: {error}", self._clock()
        silence = self._silences.pop(key, None)
        if silence is not None and now < silence.ends_at:
            self._silences[key] = silence
            return None
        seconds = _FIRST_SECONDS
        if silence is not None:
            seconds = min(silence.seconds * 2, _LONGEST_SECONDS)
        self._silences[key] = _Silence(now + seconds, seconds)
        if len(self._silences) > _REMEMBERED_ERRORS:
            self._silences.pop(next(iter(self._silences)))
        return seconds
