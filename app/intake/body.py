"""Reads a JSON body under a limit of bytes and of time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from fanfold.app.http.errors import (
    BodyTooLarge,
    MalformedRequest,
    RequestTimeout,
    UnsupportedMediaType,
)
from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.job_text import decode_job

# A client or proxy that is still sending may never read an answer that comes with a closed
# connection. So this much of an oversized body is read and dropped.
_DRAINED_BYTES = 64 * 1024 * 1024


JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class BodyKind:
    """What a body is to be."""

    media_types: tuple[str, ...]
    send: str
    """What to send, for who sent something else."""
    holds: str
    """What it has to hold, for who sent nothing."""


JOB: Final = BodyKind(
    (JSON, "multipart/form-data"),
    "Send the job as JSON, with the header Content-Type: application/json, or as a form, "
    "multipart/form-data, with its items beside it.",
    "the job, a JSON object",
)
"""A form is read elsewhere: of these media types JSON alone is read here."""


async def read_body(
    request: Request,
    limits: GatewaySettings,
    kind: BodyKind = JOB,
    *,
    most: tuple[int, str] | None = None,
) -> bytes:
    """The raw body, of at most so many bytes, which a setting says.

    Raises UnsupportedMediaType, BodyTooLarge or RequestTimeout.
    """
    _check_media_type(request, kind)
    most_bytes, setting = most or (limits.max_body_bytes, "FANFOLD_MAX_BODY_BYTES")
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(limits.body_timeout_seconds):
            async for part in request.stream():
                received += len(part)
                if received <= most_bytes:
                    body += part
                elif received > most_bytes + _DRAINED_BYTES:
                    break
    except TimeoutError:
        detail = f"The body did not arrive within {limits.body_timeout_seconds:g} seconds."
        raise RequestTimeout("body_timeout", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise MalformedRequest("malformed_json", "The body ended before it was whole.") from None
    if received > most_bytes:
        raise too_large(most_bytes, setting)
    return bytes(body)


def has_body(request: Request) -> bool:
    """Whether the request has a body that is not empty, by its head (RFC 9112, section 6.3)."""
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or length.strip("0 ") != ""


def decode_body(
    body: bytes,
    what: str = "The body",
    kind: BodyKind = JOB,
    decode: Callable[[bytes], Any] = decode_job,
) -> Any:  # noqa: ANN401 - any JSON value
    """The document in a body, or in a part of it, which is what `what` says.

    Raises MalformedRequest where it is not JSON, and InvalidJob where a field is there twice.
    """
    if not body.strip():
        detail = f"{what} is empty: it has to hold {kind.holds}."
        raise MalformedRequest("malformed_json", detail)
    try:
        return decode(body)
    except json_values.InvalidJson as error:
        raise MalformedRequest("malformed_json", f"{what} is not JSON: {error}.") from None


def _check_media_type(request: Request, kind: BodyKind) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {JSON, MERGE_PATCH} & set(kind.media_types):
        raise UnsupportedMediaType(
            "unsupported_media_type", kind.send, headers={"Accept": ", ".join(kind.media_types)}
        )
    check_not_compressed(request)


def check_not_compressed(request: Request) -> None:
    """Raises UnsupportedMediaType where the body as a whole is compressed."""
    if request.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            "unsupported_content_encoding",
            "Send the body uncompressed.",
            headers={"Accept-Encoding": "identity"},
        )


def too_large(most_bytes: int, setting: str) -> BodyTooLarge:
    """The error for a body of more bytes than the setting allows."""
    return BodyTooLarge(
        "body_too_large",
        f"At most {most_bytes} bytes are allowed ({setting}).",
        headers={"Connection": "close"},
    )
