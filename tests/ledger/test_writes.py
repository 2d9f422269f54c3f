"""Writes committed together fail alone, and go on whatever becomes of the caller."""

import asyncio
from typing import Any

import pytest

from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Batch, LedgerFailure, Statement, UniqueViolation
from fanfold.ledger.databases.group_commit import GroupCommit

INSERT = "INSERT INTO catalog (kind, name, entry, published_at) VALUES (?, ?, ?, ?)"


def adding(name: str, published_at: Any = 0) -> Statement:
    return Statement(INSERT, ("test", name, "{}", published_at))


async def names(ledger: Ledger) -> list[str]:
    found = await ledger.database.read("SELECT name FROM catalog ORDER BY name")
    return [name for (name,) in found]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(2**70, id="large-integer"),
        pytest.param("\ud800", id="lone-surrogate"),
    ],
)
async def test_a_value_that_cannot_be_bound_fails_its_own_write_only(
    ledger: Ledger, value: object
) -> None:
    write = ledger.database.write
    outcomes = await asyncio.gather(
        write(adding("a")),
        write(adding("b"), adding("c", value)),
        write(adding("d")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, LedgerFailure) for outcome in outcomes] == [False, True, False]
    assert await names(ledger) == ["a", "d"]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(Statement("INSERT INTO absent (a) VALUES (1)"), id="no-such-table"),
        pytest.param(Statement("INSERT INTO catalog VALUES ("), id="no-sql"),
        pytest.param(Statement(INSERT, ("test", "b")), id="parameters-missing"),
        pytest.param(Statement(INSERT, ("test", None, "{}", 0)), id="null-in-the-key"),
    ],
)
async def test_what_the_database_refuses_fails_clearly_and_alone(
    ledger: Ledger, wrong: Statement
) -> None:
    write = ledger.database.write
    outcomes = await asyncio.gather(
        write(adding("a")), write(adding("b"), wrong), write(adding("c")), return_exceptions=True
    )
    assert [isinstance(outcome, LedgerFailure) for outcome in outcomes] == [False, True, False]
    assert await names(ledger) == ["a", "c"]


async def test_a_read_that_the_database_refuses_fails_clearly_and_alone(ledger: Ledger) -> None:
    for _ in range(2):
        with pytest.raises(LedgerFailure, match="absent"):
            await ledger.database.read("SELECT a FROM absent")
        assert await names(ledger) == []


async def test_a_key_that_exists_fails_its_own_write_only(ledger: Ledger) -> None:
    write = ledger.database.write
    await write(adding("taken"))
    outcomes = await asyncio.gather(
        write(adding("a")),
        write(adding("b"), adding("taken")),
        write(adding("c"), Batch(INSERT, [("test", "d", "{}", 0), ("test", "taken", "{}", 0)])),
        write(adding("e")),
        return_exceptions=True,
    )
    failed = [isinstance(outcome, UniqueViolation) for outcome in outcomes]
    assert failed == [False, True, True, False]
    assert await names(ledger) == ["a", "e", "taken"]


async def test_writes_that_come_while_one_is_under_way_share_the_next_transaction(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: GroupCommit = ledger.database._writes  # type: ignore[attr-defined]  # both have it
    commit = writes._commit
    transactions: list[int] = []

    def counted(scripts: list[Any]) -> Any:
        transactions.append(len(scripts))
        return commit(scripts)

    monkeypatch.setattr(writes, "_commit", counted)
    wanted = [f"{number:03}" for number in range(200)]
    await asyncio.gather(*(ledger.database.write(adding(name)) for name in wanted))
    assert sum(transactions) == 200
    assert len(transactions) <= 5
    assert await names(ledger) == wanted


async def test_each_statement_gives_back_its_own_rows(ledger: Ledger) -> None:
    answers = await ledger.database.write(
        Statement(f"{INSERT} RETURNING name", ("test", "a", "{}", 0)),
        adding("b"),
        Statement("SELECT name FROM catalog ORDER BY name"),
        Batch(INSERT, [("test", "c", "{}", 0)]),
    )
    assert [[*map(tuple, rows)] for rows in answers] == [[("a",)], [], [("a",), ("b",)], []]


async def test_columns_are_read_by_name_or_in_their_order(ledger: Ledger) -> None:
    select = "SELECT name, published_at AS at FROM catalog"
    _, written = await ledger.database.write(adding("a"), Statement(select))
    for (row,) in (written, await ledger.database.read(select)):
        name, published_at = row
        assert (row["name"], row["at"], row[1], len(row)) == (name, published_at, published_at, 2)
        with pytest.raises(LookupError):
            row["published_at"]


async def test_a_write_is_there_for_the_next_read_of_every_process(
    ledger: Ledger, ledger_url: str
) -> None:
    async with connect(ledger_url) as other:
        for number in range(20):
            await ledger.database.write(adding(f"{number:02}"))
            assert (await names(other))[-1] == f"{number:02}"


async def test_a_caller_that_goes_away_takes_no_other_write_with_it(ledger: Ledger) -> None:
    writes = [asyncio.create_task(_write(ledger, f"{number:02}")) for number in range(20)]
    await asyncio.wait(writes[:1])
    for write in writes[5:10]:
        write.cancel()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    kept = [f"{n:02}" for n, outcome in enumerate(outcomes) if outcome is None]
    assert set(kept) >= {f"{n:02}" for n in (*range(5), *range(10, 20))}
    assert set(await names(ledger)) >= set(kept)


async def test_closing_in_the_middle_of_writes_loses_none_that_was_acknowledged(
    ledger_url: str,
) -> None:
    async with connect(ledger_url) as ledger:
        writes = [asyncio.create_task(_write(ledger, f"{number}")) for number in range(9)]
        await asyncio.wait(writes[:1])
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    async with connect(ledger_url) as ledger:
        kept = await names(ledger)
    assert kept == [f"{number}" for number in range(9) if outcomes[number] is None]
    assert "0" in kept


async def _write(ledger: Ledger, name: str) -> None:
    await ledger.database.write(adding(name))
