"""Recognises the format of data, by its media type or else by its file's name."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fanfold.app.http.errors import UnsupportedMediaType


class Format(Enum):
    """How items are written down."""

    NDJSON = "NDJSON"
    CSV = "CSV"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A format, and whether its bytes are compressed."""

    format: Format
    is_gzip: bool


ACCEPTED: Final = "application/x-ndjson, text/csv, application/json"

_MEDIA_TYPES = {
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "text/csv": Format.CSV,
    "application/csv": Format.CSV,
    "application/json": Format.JSON,
}
_GZIP_TYPES = frozenset({"application/gzip", "application/x-gzip"})
_UNTOLD = frozenset({"", "application/octet-stream"}) | _GZIP_TYPES
_ENDINGS = {
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".csv": Format.CSV,
    ".json": Format.JSON,
}
_CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii"})


def recognise(media_type: str, content_encoding: str, file_name: str = "") -> Encoded:
    """The format of data with these headers; raises UnsupportedMediaType."""
    kind, _, parameters = media_type.partition(";")
    kind, name = kind.strip().lower(), file_name.strip().lower()
    encoding = content_encoding.strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise UnsupportedMediaType(
            "unsupported_content_encoding",
            "Send the items as they are, or compressed with gzip.",
            headers={"Accept-Encoding": "gzip, identity"},
        )
    is_gzip = encoding in {"gzip", "x-gzip"} or kind in _GZIP_TYPES or name.endswith(".gz")
    name = name.removesuffix(".gz")
    if kind in _UNTOLD:
        found = next((form for end, form in _ENDINGS.items() if name.endswith(end)), None)
    else:
        found = _MEDIA_TYPES.get(kind)
    if found is Format.CSV and _parameter("header", parameters) == "absent":
        detail = "A CSV table needs a first row with the names of its columns: header=present."
        raise UnsupportedMediaType("unsupported_media_type", detail, headers={"Accept": ACCEPTED})
    if found is None or _parameter("charset", parameters) not in _CHARSETS:
        raise UnsupportedMediaType(
            "unsupported_media_type",
            f"Send items in UTF-8, with one of these media types: {ACCEPTED}; "
            "or, in a form, as a file whose name ends in .ndjson, .jsonl, .csv or .json, "
            "and then .gz where it is compressed.",
            headers={"Accept": ACCEPTED},
        )
    return Encoded(found, is_gzip)


def _parameter(wanted: str, parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == wanted:
            return value.strip().strip('"').lower()
    return ""
