"""`Idempotency-Key`: the same key with the same body, the same job."""

import re

from fanfold.app.http.errors import KeyReused, MalformedRequest
from fanfold.contract.names import JobId
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey

_MOST_CHARACTERS = 255
KEY_PATTERN = r'^(?!""$)[!-~]([ -~]{0,253}[!-~])?$'
"""A key for the API's documentation: blanks around it are no part of a header."""


def key_name(header: str | None, count: int = 1) -> str | None:
    """The key, without the quotes of a structured-field string where it has them.

    Raises MalformedRequest where it is none, or where there is more than this one header.
    """
    if header is None:
        return None
    if count > 1:
        detail = "There is more than one Idempotency-Key; send one, which stands for the job."
        raise MalformedRequest("invalid_idempotency_key", detail)
    key = header.strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):  # noqa: PLR2004 - two quotes
        key = key[1:-1]
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        has_as_many = 1 <= len(key) <= _MOST_CHARACTERS
        what = "has other characters" if has_as_many else f"has {len(key)}"
        raise MalformedRequest(
            "invalid_idempotency_key",
            f"An Idempotency-Key has 1 to 255 printable ASCII characters; this one {what}.",
        )
    return key


def earlier_job(taken: KeyTaken, key: IdempotencyKey | None) -> JobId:
    """The id of the job that has the key; raises KeyReused where it came with another body."""
    if key is None or taken.body_hash != key.body_hash:
        detail = "This key came with another body before; use a new key for a new job."
        raise KeyReused("idempotency_key_reused", detail) from None
    return taken.job_id
