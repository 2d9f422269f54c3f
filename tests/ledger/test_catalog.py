"""The catalog: what workers publish is there for every gateway, until no worker has it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fanfold.ledger.catalog import GONE_AFTER, PUBLISH_INTERVAL, Catalog, CatalogEntry, Kind
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Batch, Database, LedgerUnavailable, Row, Statement, Value
from fanfold.workers.publishing import publish_again
from tests.ledger.raw_sql import rows

SHOUT = CatalogEntry(
    name="shout",
    description="Übertreibt \U0001f4e3",
    options_schema={"type": "object", "properties": {"marks": {"type": "integer", "default": 1}}},
    example={"items": ["a"], "processor": "shout"},
)
WHISPER = replace(SHOUT, name="whisper")
A_DAY = timedelta(days=1)


async def publish(ledger: Ledger, *processors: CatalogEntry) -> None:
    """As one worker does, which has no reducer."""
    await ledger.catalog.publish({Kind.PROCESSOR: processors})


async def entries(ledger: Ledger, kind: Kind = Kind.PROCESSOR) -> dict[str, CatalogEntry]:
    return dict((await ledger.catalog.published(kind)).entries)


def let_time_pass(url: str, duration: timedelta = GONE_AFTER + PUBLISH_INTERVAL) -> None:
    """Nothing was published for so long."""
    milliseconds = duration // timedelta(milliseconds=1)
    rows(url, f"UPDATE catalog SET published_at = published_at - {milliseconds}")


def published_by_the_release_before(url: str, name: str) -> None:
    rows(
        url,
        "INSERT INTO catalog (kind, name, entry, published_at) SELECT kind, "
        f"'{name}', REPLACE(entry, 'shout', '{name}'), published_at FROM catalog "
        "WHERE name = 'shout'",
    )


async def test_a_ledger_starts_without_a_catalog(ledger: Ledger) -> None:
    for kind in Kind:
        assert not (await ledger.catalog.published(kind)).is_known


async def test_entries_come_back_by_name_in_alphabetical_order(ledger: Ledger) -> None:
    await publish(ledger, *(replace(SHOUT, name=name) for name in ("b", "c", "a")))
    found = await entries(ledger)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == replace(SHOUT, name="a")


async def test_a_processor_says_what_it_takes_and_what_fits(ledger: Ledger) -> None:
    told = replace(SHOUT, takes="item", item_schema={"type": "string"})
    await publish(ledger, told, replace(WHISPER, takes="chunk", example=None))
    assert await entries(ledger) == {
        "shout": told,
        "whisper": replace(WHISPER, takes="chunk", example=None),
    }


async def test_the_release_before_can_read_what_is_published(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, replace(SHOUT, takes="item", item_schema={}, example=None))
    ((text,),) = rows(ledger_url, "SELECT entry FROM catalog WHERE name = 'shout'")
    # It fails on any field besides these, and answers with an example that is an object.
    read = json.loads(text)
    assert set(read) == {"name", "description", "options_schema", "example"}
    assert read["example"] == {}


@pytest.mark.parametrize("added", [{}, {"invented": {"later": 1}}], ids=["before", "after"])
async def test_what_another_release_publishes_is_read(
    ledger: Ledger, ledger_url: str, added: dict[str, Any]
) -> None:
    await publish(ledger, SHOUT)
    fields = ("name", "description", "options_schema", "example")
    text = json.dumps({name: getattr(SHOUT, name) for name in fields} | added)
    rows(ledger_url, f"UPDATE catalog SET entry = '{text}' WHERE name = 'shout'")
    assert await entries(ledger) == {"shout": SHOUT}


async def test_a_processor_and_a_reducer_may_share_a_name(ledger: Ledger) -> None:
    reducer = replace(SHOUT, description="a reducer")
    await ledger.catalog.publish({Kind.PROCESSOR: [SHOUT], Kind.REDUCER: [reducer]})
    assert await entries(ledger) == {"shout": SHOUT}
    assert await entries(ledger, Kind.REDUCER) == {"shout": reducer}


async def test_another_worker_renews_what_it_knows_and_keeps_the_rest(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, SHOUT, WHISPER)
    renewed = replace(SHOUT, description="newer")
    async with connect(ledger_url) as another_worker:
        await publish(another_worker, renewed)
    assert await entries(ledger) == {"shout": renewed, "whisper": WHISPER}


async def test_publishing_nothing_changes_nothing(ledger: Ledger) -> None:
    await publish(ledger, SHOUT)
    await publish(ledger)
    assert await entries(ledger) == {"shout": SHOUT}


async def test_what_no_worker_publishes_any_more_is_gone_after_a_while(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, SHOUT, WHISPER)
    for _ in range(GONE_AFTER // PUBLISH_INTERVAL):
        let_time_pass(ledger_url, PUBLISH_INTERVAL)
        await publish(ledger, SHOUT)
        assert list(await entries(ledger)) == ["shout", "whisper"]
    let_time_pass(ledger_url, PUBLISH_INTERVAL)
    await publish(ledger, SHOUT)
    published = await ledger.catalog.published(Kind.PROCESSOR)
    assert list(published.entries) == ["shout"]
    assert list(published.gone) == ["whisper"]
    assert GONE_AFTER <= published.gone["whisper"] < GONE_AFTER + 3 * PUBLISH_INTERVAL
    await publish(ledger, WHISPER)
    assert list(await entries(ledger)) == ["shout", "whisper"]


async def test_a_kind_of_which_nothing_is_left_is_known_all_the_same(
    ledger: Ledger, ledger_url: str
) -> None:
    await ledger.catalog.publish({Kind.REDUCER: [SHOUT]})
    for _ in range(2 * GONE_AFTER // PUBLISH_INTERVAL):
        let_time_pass(ledger_url, PUBLISH_INTERVAL)
        await publish(ledger, SHOUT)
    reducers = await ledger.catalog.published(Kind.REDUCER)
    assert (dict(reducers.entries), reducers.is_known) == ({}, True)


async def test_while_all_workers_are_away_what_they_had_stays(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, SHOUT, WHISPER)
    let_time_pass(ledger_url, A_DAY)
    assert list(await entries(ledger)) == ["shout", "whisper"]


async def test_when_all_were_away_the_first_one_back_leaves_the_others_time(
    ledger: Ledger, ledger_url: str
) -> None:
    """A restart of everything, a ledger that was off for a day."""
    await publish(ledger, SHOUT, WHISPER)
    let_time_pass(ledger_url, A_DAY)
    await publish(ledger, SHOUT)
    assert list(await entries(ledger)) == ["shout", "whisper"]
    for _ in range(GONE_AFTER // PUBLISH_INTERVAL + 1):
        let_time_pass(ledger_url, PUBLISH_INTERVAL)
        await publish(ledger, SHOUT)
    assert list(await entries(ledger)) == ["shout"]


async def test_what_was_gone_before_all_went_away_does_not_come_back_with_them(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, SHOUT, WHISPER)
    for _ in range(2 * GONE_AFTER // PUBLISH_INTERVAL):
        let_time_pass(ledger_url, PUBLISH_INTERVAL)
        await publish(ledger, SHOUT)
    let_time_pass(ledger_url, A_DAY)
    assert list(await entries(ledger)) == ["shout"]
    await publish(ledger, SHOUT)
    assert list(await entries(ledger)) == ["shout"]


async def test_workers_of_the_release_before_alone_keep_what_they_published_once(
    ledger: Ledger, ledger_url: str
) -> None:
    await publish(ledger, SHOUT)
    rows(ledger_url, "DELETE FROM catalog WHERE kind = 'worker'")
    let_time_pass(ledger_url, A_DAY)
    published_by_the_release_before(ledger_url, "old")
    assert list(await entries(ledger)) == ["old", "shout"]
    # Beside workers of this release they have as long as all others to publish again.
    await publish(ledger, SHOUT)
    assert list(await entries(ledger)) == ["old", "shout"]
    for _ in range(GONE_AFTER // PUBLISH_INTERVAL + 1):
        let_time_pass(ledger_url, PUBLISH_INTERVAL)
        await publish(ledger, SHOUT)
    assert list(await entries(ledger)) == ["shout"]


async def test_workers_that_come_back_together_do_not_wait_for_each_other_for_long(
    ledger: Ledger, ledger_url: str
) -> None:
    """A deadlock would last for the second after which PostgreSQL ends it."""
    names = [f"p{number}" for number in range(20)]
    processors = [replace(SHOUT, name=name) for name in names]
    await publish(ledger, *processors)
    async with connect(ledger_url) as another:
        for _ in range(20):
            let_time_pass(ledger_url, A_DAY)
            async with asyncio.timeout(0.9):
                await asyncio.gather(
                    publish(ledger, *processors), publish(another, *processors[::-1])
                )
    assert sorted(await entries(ledger)) == sorted(names)


class OftenAway:
    """A database that every second write fails on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among
        self.writes = 0

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        self.writes += 1
        if self.writes % 2:
            raise LedgerUnavailable("away")
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def test_a_worker_publishes_again_and_again_though_the_ledger_is_away_at_times(
    ledger: Ledger, ledger_url: str
) -> None:
    database = OftenAway(ledger.database)
    publishing = asyncio.create_task(
        publish_again(
            Catalog(database), {Kind.PROCESSOR: [SHOUT]}, interval=timedelta(milliseconds=1)
        )
    )
    try:
        for _ in range(3):
            # In a thread: the worker's transaction, which it may wait for, ends in this one.
            await asyncio.to_thread(rows, ledger_url, "DELETE FROM catalog")
            async with asyncio.timeout(30):
                while not await entries(ledger):  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
    finally:
        publishing.cancel()


async def test_a_ledger_that_refuses_what_a_worker_publishes_is_tried_again_too(
    ledger: Ledger, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fanfold.worker")
    await asyncio.to_thread(rows, ledger_url, "ALTER TABLE catalog RENAME TO aside")
    publishing = asyncio.create_task(
        publish_again(ledger.catalog, {Kind.PROCESSOR: [SHOUT]}, interval=timedelta(milliseconds=1))
    )
    try:
        async with asyncio.timeout(30):
            while "could not be published" not in caplog.text:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
            await asyncio.to_thread(rows, ledger_url, "ALTER TABLE aside RENAME TO catalog")
            while "are published again" not in caplog.text:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        assert set(await entries(ledger)) == {"shout"}
    finally:
        publishing.cancel()
