"""Results of chunks that a client gives."""

from dataclasses import dataclass
from typing import Final

from fanfold.app.intake.body import JSON, BodyKind, decode_body, too_large
from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.validation import check_nesting, encode

RESULT: Final = BodyKind(
    (JSON,),
    "Send the result as JSON, with the header Content-Type: application/json.",
    "the result, any JSON value",
)
SETTING: Final = "FANFOLD_MAX_CHUNK_RESULT_BYTES"


@dataclass(frozen=True, slots=True)
class GivenResult:
    """A result as the ledger stores it."""

    body: bytes
    """JSON text."""
    places: int | None
    """How many elements it has; None where it is no array."""


def read_result(raw: bytes, limits: GatewaySettings) -> GivenResult:
    """The result in this body; raises a Problem where it cannot be stored."""
    value = decode_body(raw, kind=RESULT, decode=json_values.decode)
    check_nesting(value, limits.max_nesting_depth, ())
    body = encode(value, ())
    # A number may be longer than it was sent.
    if len(body) > limits.max_chunk_result_bytes:
        raise too_large(limits.max_chunk_result_bytes, SETTING)
    return GivenResult(body, len(value) if isinstance(value, list) else None)
