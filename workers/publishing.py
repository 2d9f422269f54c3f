"""A worker publishes what it has, again and again, for as long as it is there."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from fanfold.ledger.catalog import PUBLISH_INTERVAL, Catalog, CatalogEntry, Kind
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable

_log = logging.getLogger("fanfold.worker")


async def publish_again(
    catalog: Catalog,
    entries: Mapping[Kind, Sequence[CatalogEntry]],
    *,
    interval: timedelta = PUBLISH_INTERVAL,
) -> None:
    """Publish at intervals, until cancelled; what the ledger refuses is tried again then.

    The worker goes on meanwhile: others may still publish what it has.
    """
    was_published = True
    while True:
        await asyncio.sleep(interval.total_seconds())
        try:
            await catalog.publish(entries)
        except (LedgerUnavailable, LedgerFailure) as error:
            if was_published:
                _log.warning("the processors could not be published, trying again: %s", error)
            was_published = False
        else:
            if not was_published:
                _log.info("the processors are published again")
            was_published = True
