"""The processor that calls the limited service, named to the workers in FANFOLD_PROCESSORS."""

from functools import cache

import httpx


async def call_service(item: int, *, url: str) -> int:
    """Call the service for the item; any answer but 200 is a failure, to be tried again."""
    response = await _client().get(f"{url}/items/{item}")
    response.raise_for_status()
    return item


@cache
def _client() -> httpx.AsyncClient:
    """One for all calls of a worker: it keeps connections open."""
    return httpx.AsyncClient()
