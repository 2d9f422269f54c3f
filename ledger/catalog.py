"""The catalog: which processors and reducers the workers have, as they publish them.

Workers publish again and again, and what no worker has published for a while is gone.
But only while some worker publishes: when all are away, what they had stays, so that
jobs are taken and wait for them. When the first one is back, the others have as long to
come back as one that has just published.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from fanfold.contract.reading import known_fields
from fanfold.ledger.database import Batch, Database, Statement
from fanfold.ledger.records import now_ms

PUBLISH_INTERVAL: Final = timedelta(seconds=20)
"""How often a worker publishes what it has: one small write."""

GONE_AFTER: Final = timedelta(seconds=90)
"""What no worker has published for so long is gone: long enough for a worker to be
started again, or to miss three times, short enough that few jobs are taken in vain."""

# A row beside the entries: when any worker last published. Workers of the release before
# do not write it, and publish at their start only; alone, they so keep what they have.
_ANY_WORKER: Final = "worker"
_ANY_WORKER_AT = f"COALESCE((SELECT published_at FROM catalog WHERE kind = '{_ANY_WORKER}'), 0)"


# Where an entry has what the release before does not know, and would fail on anywhere else:
# in JSON schema, a keyword that begins with x- says nothing.
_MORE: Final = "x-fanfold"


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
    example: dict[str, Any] | None
    """A job that uses it, ready to be POSTed; None where nobody has given one."""
    takes: Literal["item", "chunk"] | None = None
    """What a processor is called with; None for a reducer, or where it is not known."""
    item_schema: dict[str, Any] | None = None
    """JSON schema (2020-12) of an item; None where the processor declares none."""

    def to_json(self) -> str:
        """The entry as JSON text, which the release before can read."""
        raw = asdict(self)
        more = {name: raw.pop(name) for name in ("takes", "item_schema")}
        raw["options_schema"] = raw["options_schema"] | {_MORE: more}
        raw["example"] = raw["example"] or {}
        return json.dumps(raw)

    @classmethod
    def from_json(cls, text: str) -> "CatalogEntry":
        """The entry that `to_json` wrote, in this release, the one before or the one after."""
        raw = json.loads(text)
        more = raw["options_schema"].pop(_MORE, {})
        raw["example"] = raw["example"] or None
        return cls(**known_fields(cls, raw | more))


@dataclass(frozen=True, slots=True)
class Published:
    """The processors, or the reducers, as of now, by name."""

    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    """Those that workers have, in alphabetical order."""
    gone: Mapping[str, timedelta] = field(default_factory=dict)
    """Those that workers had: for how long none has had them."""

    @property
    def is_known(self) -> bool:
        """Whether any worker has published yet."""
        return bool(self.entries or self.gone)


class Catalog:
    """Operations on the catalog, which raise LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        """Work on this database."""
        self._database = database

    async def publish(self, entries: Mapping[Kind, Iterable[CatalogEntry]]) -> None:
        """Add or renew what a worker has; what other workers published stays for a while."""
        now = now_ms()
        gone_before = now - _milliseconds(GONE_AFTER)
        await self._database.write(
            # Held to the end of the transaction: workers publish one after another.
            Statement(
                "INSERT INTO catalog (kind, name, entry, published_at) VALUES (?, '', '', 0) "
                "ON CONFLICT (kind, name) DO UPDATE SET entry = ''",
                (_ANY_WORKER,),
            ),
            # All were away: what they had last is as good as published now.
            Statement(
                f"UPDATE catalog SET published_at = ? WHERE {_ANY_WORKER_AT} < ? "
                f"AND kind <> ? AND published_at >= {_ANY_WORKER_AT} - ?",
                (now, gone_before, _ANY_WORKER, _milliseconds(GONE_AFTER)),
            ),
            Batch(
                "INSERT INTO catalog (kind, name, entry, published_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, name) DO UPDATE "
                "SET entry = excluded.entry, published_at = excluded.published_at",
                [
                    (kind, entry.name, entry.to_json(), now)
                    for kind, some in entries.items()
                    for entry in some
                ],
            ),
            Statement("UPDATE catalog SET published_at = ? WHERE kind = ?", (now, _ANY_WORKER)),
        )

    async def published(self, kind: Kind) -> Published:
        """What the workers have, and what they had."""
        rows = await self._database.read(
            f"SELECT name, entry, published_at, {_ANY_WORKER_AT} FROM catalog "
            "WHERE kind = ? ORDER BY name",
            (kind,),
        )
        entries: dict[str, CatalogEntry] = {}
        gone: dict[str, timedelta] = {}
        for name, entry, published_at, any_worker_at in rows:
            if published_at < any_worker_at - _milliseconds(GONE_AFTER):
                gone[name] = timedelta(milliseconds=now_ms() - published_at)
            else:
                entries[name] = CatalogEntry.from_json(entry)
        return Published(entries, gone)


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
