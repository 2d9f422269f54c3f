"""A database on which something else happens between what an operation reads and writes."""

from collections.abc import Awaitable, Callable, Sequence

from fanfold.ledger.database import Batch, Database, Row, Statement, Value


class Meanwhile:
    """Before the first write, this happens."""

    def __init__(self, database: Database, happens: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._happens: Callable[[], Awaitable[object]] | None = happens
        self.skip_locked = database.skip_locked
        self.among = database.among

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        if self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


class Noting(Meanwhile):
    """It keeps the scripts that are written, to be written again at a later time."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, _nothing)
        self.scripts: list[Sequence[Statement | Batch]] = []

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        self.scripts.append(script)
        return await super().write(*script)


async def _nothing() -> None:
    pass
