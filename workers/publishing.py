"""A worker publishes what it has, again and again, for as long as it is there."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from ledger.catalog import PUBLISH_INTERVAL, Catalog, CatalogEntry, Kind
from ledger.database import LedgerUnavailable

_log = logging.getLogger("fanfold.worker")


async def publish_again(
    catalog: Catalog,
    entries: Mapping[Kind, Sequence[CatalogEntry]],
    *,
    interval: timedelta = PUBLISH_INTERVAL,
) -> None:
    """Publish at intervals, until cancelled; a ledger that is away is tried again."""
    was_published = True
    while True:
        await asyncio.sleep(interval.total_seconds())
        try:
            await catalog.publish(entries)
        except LedgerUnavailable as error:
            if was_published:
                _log.warning("the processors could not be published, trying again: %s", error)
            was_published = False
        else:
            was_published = True
