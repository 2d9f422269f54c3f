"""Content negotiation by `Accept` and `Accept-Encoding` (RFC 9110, section 12)."""

CSV = "text/csv"
NDJSON = "application/x-ndjson"


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


def wants_csv(accept: str | None) -> bool:
    """Whether CSV is named, and preferred no less than NDJSON."""
    wanted = weights(accept)
    csv = wanted.get(CSV, 0.0)
    return csv > 0 and csv >= wanted.get(NDJSON, 0.0)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
