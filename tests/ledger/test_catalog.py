"""The catalog: what workers publish is there for every gateway, renewed by name."""

from dataclasses import replace

from ledger.catalog import CatalogEntry, Kind
from ledger.connect import Ledger, connect

SHOUT = CatalogEntry(
    name="shout",
    description="Übertreibt \U0001f4e3",
    options_schema={"type": "object", "properties": {"marks": {"type": "integer", "default": 1}}},
    example={"items": ["a"], "processor": "shout"},
)


async def test_a_ledger_starts_without_a_catalog(ledger: Ledger) -> None:
    assert await ledger.catalog.entries(Kind.PROCESSOR) == {}
    assert await ledger.catalog.entries(Kind.REDUCER) == {}


async def test_entries_come_back_by_name_in_alphabetical_order(ledger: Ledger) -> None:
    entries = [replace(SHOUT, name=name) for name in ("b", "c", "a")]
    await ledger.catalog.publish(Kind.PROCESSOR, entries)
    found = await ledger.catalog.entries(Kind.PROCESSOR)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == replace(SHOUT, name="a")


async def test_a_processor_and_a_reducer_may_share_a_name(ledger: Ledger) -> None:
    reducer = replace(SHOUT, description="a reducer")
    await ledger.catalog.publish(Kind.PROCESSOR, [SHOUT])
    await ledger.catalog.publish(Kind.REDUCER, [reducer])
    assert await ledger.catalog.entries(Kind.PROCESSOR) == {"shout": SHOUT}
    assert await ledger.catalog.entries(Kind.REDUCER) == {"shout": reducer}


async def test_another_worker_renews_what_it_knows_and_keeps_the_rest(
    ledger: Ledger, ledger_url: str
) -> None:
    other = replace(SHOUT, name="other")
    await ledger.catalog.publish(Kind.PROCESSOR, [SHOUT, other])
    renewed = replace(SHOUT, description="newer")
    async with connect(ledger_url) as another_worker:
        await another_worker.catalog.publish(Kind.PROCESSOR, [renewed])
    assert await ledger.catalog.entries(Kind.PROCESSOR) == {"shout": renewed, "other": other}


async def test_publishing_nothing_changes_nothing(ledger: Ledger) -> None:
    await ledger.catalog.publish(Kind.PROCESSOR, [SHOUT])
    await ledger.catalog.publish(Kind.PROCESSOR, [])
    assert await ledger.catalog.entries(Kind.PROCESSOR) == {"shout": SHOUT}
