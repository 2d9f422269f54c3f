"""From bytes as they arrive to chunks, in whichever format."""

from collections.abc import Iterator
from typing import Final

from fanfold.app.intake.items import csv_table, json_array, ndjson
from fanfold.app.intake.items.decompression import decompressed
from fanfold.app.intake.items.formats import Encoded, Format
from fanfold.app.intake.items.item_check import ItemCheck
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.cutting import Cut, chunks
from fanfold.intake.faults import ITEMS, refuse
from fanfold.intake.item_schema import ItemSchema
from fanfold.ledger.records import NewChunk

_UTF_16: Final = "the text is in UTF-16: send it in UTF-8"
_NO_TEXT: Final = {
    b"\x1f\x8b": "the data is compressed with gzip, and nothing says so: send it with "
    "Content-Encoding: gzip; a file, with a name that ends in .gz",
    b"PK\x03\x04": "the data is a ZIP archive, as workbooks of spreadsheets are: send the text "
    "itself, as NDJSON, CSV or JSON",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}
"""By their first bytes, what people send instead of text in UTF-8."""


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
    items = _items(_text(plain), encoded.format, limits, schema, is_whole=is_whole)
    return chunks(items, cut, limits)


def _text(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks; refused where they begin like something that is no text in UTF-8."""
    first = next(blocks, b"")
    what = next((what for begins, what in _NO_TEXT.items() if first.startswith(begins)), None)
    if what is not None:
        refuse("invalid_item", ITEMS, what)
    yield first
    yield from blocks


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
