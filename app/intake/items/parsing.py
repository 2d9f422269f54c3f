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
    schema: ItemSchema | None = None,
) -> Iterator[NewChunk]:
    """The chunks of this data. Raises a Problem at the first thing that is wrong with it.

    With a schema, its items have to fit that too.
    """
    plain = decompressed(blocks, is_gzip=encoded.is_gzip, max_bytes=limits.max_upload_bytes)
    return chunks(_items(plain, encoded.format, limits, schema), cut, limits)


def _items(
    blocks: Iterator[bytes], which: Format, limits: GatewaySettings, schema: ItemSchema | None
) -> Iterator[list[bytes]]:
    if which is Format.CSV:
        return csv_table.items(blocks, limits.max_item_bytes, schema)
    read = ndjson.items if which is Format.NDJSON else json_array.items
    return read(blocks, ItemCheck(limits, schema), limits.max_item_bytes)
