"""A database on which every script is written twice, as where nobody knew of the first time."""

from collections.abc import Sequence

from fanfold.ledger.database import Batch, Database, Row, Statement, Value


class WrittenTwice:
    """The answer is that of the second time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.skip_locked = database.skip_locked
        self.among = database.among

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        await self._database.write(*script)
        return await self._database.write(*script)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()
