"""The catalog: which processors and reducers the workers know, as they published them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ledger.database import Batch, Database
from ledger.records import now_ms


class Kind(StrEnum):
    """What a catalog entry describes."""

    PROCESSOR = "processor"
    REDUCER = "reducer"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A processor or reducer as clients see it."""

    name: str
    description: str
    options_schema: dict[str, Any]
    """JSON schema (2020-12) of the options object."""
    example: dict[str, Any]
    """A job that uses it, ready to be POSTed."""


class Catalog:
    """Operations on the catalog, which raise LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def publish(self, kind: Kind, entries: Iterable[CatalogEntry]) -> None:
        """Add or renew entries; what other workers published stays."""
        published_at = now_ms()
        await self._database.write(
            Batch(
                "INSERT INTO catalog (kind, name, entry, published_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, name) DO UPDATE "
                "SET entry = excluded.entry, published_at = excluded.published_at",
                [
                    (kind, entry.name, json.dumps(asdict(entry)), published_at)
                    for entry in sorted(entries, key=lambda entry: entry.name)
                ],
            )
        )

    async def entries(self, kind: Kind) -> dict[str, CatalogEntry]:
        """All entries by name, in alphabetical order."""
        rows = await self._database.read(
            "SELECT name, entry FROM catalog WHERE kind = ? ORDER BY name", (kind,)
        )
        return {name: CatalogEntry(**json.loads(entry)) for name, entry in rows}
