"""What a person sees while it runs: what is being measured now, and each figure as it comes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Progress:
    """A line on standard error that changes, above it the lines that stay."""

    def __init__(self, console: Console, status: Status) -> None:
        """Write through `showing`, which also takes the changing line away at the end."""
        self._console = console
        self._status = status
        self._started = time.monotonic()

    def now(self, text: str) -> None:
        """Say what is going on at this moment."""
        seconds = time.monotonic() - self._started
        self._status.update(f"{seconds // 60:.0f}:{seconds % 60:02.0f}  {text}")

    def note(self, text: str) -> None:
        """Say something that stays to be read."""
        self._console.print(f"  {text}")

    def begin(self, title: str) -> None:
        """Say which part begins."""
        self._console.print(f"[bold]{title}[/]")


@contextmanager
def showing() -> Iterator[Progress]:
    """A progress display, until the block ends."""
    console = Console(stderr=True, highlight=False)
    with console.status("") as status:
        yield Progress(console, status)
