"""Both clients behind one face: every test of the client is run with each."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Self, cast

from fanfold import AsyncFanfold, Fanfold

Connect = Callable[..., Fanfold]


class _Blocking:
    """An AsyncFanfold that is called like a Fanfold."""

    def __init__(self, url: str, **arguments: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncFanfold(url, **arguments)

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._client.__aexit__())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*given: Any, **named: Any) -> Any:
            answer = method(*given, **named)
            if isinstance(answer, AsyncGenerator):
                return self._each(answer)
            return self._loop.run_until_complete(answer)

        return call

    def _each(self, answers: AsyncGenerator[Any, None]) -> Iterator[Any]:
        while True:
            try:
                answer = self._loop.run_until_complete(anext(answers))
            except StopAsyncIteration:
                return
            yield answer


def blocking(url: str, **arguments: Any) -> Fanfold:
    """An AsyncFanfold that a test calls like a Fanfold."""
    return cast("Fanfold", _Blocking(url, **arguments))
