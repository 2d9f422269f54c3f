"""Opaque page cursors: a position, bound to the filters of its listing."""

import base64
import binascii
import hashlib
import json
from typing import Any

from fanfold.app.http.errors import MalformedRequest

_DIGEST_BYTES = 8


Position = str | int | tuple[int | str, ...]


def encode(position: Position, filters: list[Any]) -> str:
    """The cursor for the page after `position` of the listing with these filters."""
    text = json.dumps(position).encode()
    return base64.urlsafe_b64encode(_digest(text, filters) + text).decode().rstrip("=")


def decode(cursor: str, filters: list[Any]) -> Any:  # noqa: ANN401 - what encode was given
    """The position in a cursor; raises MalformedRequest if it is of another listing."""
    try:
        raw = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
    except (ValueError, binascii.Error):
        raw = b""
    digest, text = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not text or digest != _digest(text, filters):
        raise MalformedRequest(
            "invalid_cursor",
            "The cursor is not one of this listing: use next_cursor as it was given, "
            "with the same filters.",
        )
    return json.loads(text)


def _digest(text: bytes, filters: list[Any]) -> bytes:
    # Not a secret: a cursor gives access to nothing that its request could not ask for.
    scope = json.dumps(filters, sort_keys=True).encode()
    return hashlib.blake2b(text + b"\n" + scope, digest_size=_DIGEST_BYTES).digest()
