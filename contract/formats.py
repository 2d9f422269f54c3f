"""The formats of results, as the gateway writes them and the command line asks for them."""

from enum import StrEnum


class ResultFormat(StrEnum):
    """How results are written."""

    NDJSON = "ndjson"
    CSV = "csv"
