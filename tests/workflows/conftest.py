"""A Temporal server and a ledger of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workflows.running import (
    BLOCKS,
    CHILDREN,
    SHARDS,
    Fanfold,
    Shape,
    dev_server,
    time_skipping_server,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def fanfold(tmp_path: Path) -> AsyncIterator[Fanfold]:
    """On the time-skipping server: waits of hours pass at once."""
    async with time_skipping_server() as environment, Fanfold.over(environment, tmp_path) as one:
        yield one


@pytest.fixture
async def fanfold_on_dev_server(tmp_path: Path) -> AsyncIterator[Fanfold]:
    """On the real server, for what the time-skipping one does not do as the real one does."""
    async with dev_server() as environment, Fanfold.over(environment, tmp_path) as one:
        yield one


@pytest.fixture(params=[CHILDREN, SHARDS, BLOCKS], ids=["children", "shards", "blocks"])
def shape(request: pytest.FixtureRequest) -> Shape:
    """What a job is run as: what a client sees of it must not depend on that."""
    given: Shape = request.param
    return given


@pytest.fixture(params=[CHILDREN, BLOCKS], ids=["children", "blocks"])
def fanfold_in_both_executions(
    request: pytest.FixtureRequest, fanfold_on_dev_server: Fanfold
) -> Fanfold:
    """On the real server, for jobs made of jobs: they look the same over any leaves."""
    shape: Shape = request.param
    return fanfold_on_dev_server.shaped(shape)
