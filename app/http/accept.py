"""Content negotiation by `Accept` and `Accept-Encoding` (RFC 9110, section 12)."""

from typing import Annotated

from fastapi import Header, Query

from fanfold.contract.formats import ResultFormat

CSV = "text/csv"
NDJSON = "application/x-ndjson"

Format = Annotated[
    ResultFormat | None,
    Query(alias="format", description="By default as `Accept` says, or NDJSON."),
]
Accept = Annotated[str | None, Header(alias="Accept", description="`text/csv` for CSV.")]
AcceptEncoding = Annotated[str | None, Header(description="`gzip` for a compressed answer.")]
"""Of a route that answers with either, the parameters that say which, and whether compressed."""


def weights(header: str | None) -> dict[str, float]:
    """The names in such a header, in lower case, each with its weight from 0 to 1."""
    found: dict[str, float] = {}
    for choice in (header or "").split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = _weight(value.strip())
        if name:
            found[name] = weight
    return found


def wants_gzip(accept_encoding: str | None) -> bool:
    """Whether gzip is accepted, and preferred no less than the plain bytes."""
    wanted = weights(accept_encoding)
    gzip = wanted.get("gzip", wanted.get("*", 0.0))
    return gzip > 0 and gzip >= wanted.get("identity", 0.0)


def wants_csv(format_: ResultFormat | None, accept: str | None) -> bool:
    """Whether CSV is asked for, or else accepted by name, and preferred no less than NDJSON."""
    if format_ is not None:
        return format_ is ResultFormat.CSV
    wanted = weights(accept)
    csv = wanted.get(CSV, 0.0)
    return csv > 0 and csv >= wanted.get(NDJSON, 0.0)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
