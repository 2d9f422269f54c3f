"""From bytes as they arrive to chunks, in whichever format."""

from collections.abc import Iterator

from fanfold.app.intake.items import csv_table, json_array, ndjson
from fanfold.app.intake.items.cutting import Cut, chunks
from fanfold.app.intake.items.decompression import decompressed
from fanfold.app.intake.items.formats import Encoded, Format
from fanfold.app.intake.items.item_check import ItemCheck
from fanfold.app.intake.items.item_schema import ItemSchema
from fanfold.contract.settings import GatewaySettings
from fanfold.ledger.records import NewChunk


def chunks_of(
    blocks: Iterator[bytes],
    encoded: Encoded,
    cut: Cut,
    limits: GatewaySettings,
    *,
    is_whole: bool = True,
    schema: ItemSchema | None = None,
) -> Iterator[NewChunk]:
    """The chunks of this data. Raises a Problem at the first thing that is wrong with it.

    `is_whole` is false for what is surely not all data of its job. With a schema, the items
    have to fit that too.
    """
    plain = decompressed(blocks, is_gzip=encoded.is_gzip, max_bytes=limits.max_upload_bytes)
    items = _items(plain, encoded.format, limits, schema, is_whole=is_whole)
    return chunks(items, cut, limits)


def _items(
    blocks: Iterator[bytes],
    which: Format,
    limits: GatewaySettings,
    schema: ItemSchema | None,
    *,
    is_whole: bool,
) -> Iterator[list[bytes]]:
    most = limits.max_item_bytes
    if which is Format.CSV:
        return csv_table.items(blocks, most, schema)
    if which is Format.NDJSON:
        return ndjson.items(blocks, ItemCheck(limits, schema), most, is_whole=is_whole)
    return json_array.items(blocks, ItemCheck(limits, schema), most)
