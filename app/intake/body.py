"""Reads a JSON body under a limit of bytes and of time."""

import asyncio
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from fanfold.app.http.errors import (
    BodyTooLarge,
    MalformedRequest,
    RequestTimeout,
    UnsupportedMediaType,
)
from fanfold.app.intake.job_text import decode_job
from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings

# A client or proxy that is still sending may never read an answer that comes with a closed
# connection. So this much of an oversized body is read and dropped.
_DRAINED_BYTES = 64 * 1024 * 1024


async def read_body(request: Request, limits: GatewaySettings) -> bytes:
    """The raw body. Raises UnsupportedMediaType, BodyTooLarge or RequestTimeout."""
    _check_media_type(request)
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(limits.body_timeout_seconds):
            async for part in request.stream():
                received += len(part)
                if received <= limits.max_body_bytes:
                    body += part
                elif received > limits.max_body_bytes + _DRAINED_BYTES:
                    break
    except TimeoutError:
        detail = f"The body did not arrive within {limits.body_timeout_seconds:g} seconds."
        raise RequestTimeout("body_timeout", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise MalformedRequest("malformed_json", "The body ended before it was whole.") from None
    if received > limits.max_body_bytes:
        raise _too_large(limits)
    return bytes(body)


def decode_body(body: bytes, what: str = "The body") -> Any:  # noqa: ANN401 - any JSON value
    """The document in a body, or in a part of it, which is what `what` says.

    Raises MalformedRequest where it is not JSON, and InvalidJob where a field is there twice.
    """
    if not body.strip():
        detail = f"{what} is empty: it has to hold the job, a JSON object."
        raise MalformedRequest("malformed_json", detail)
    try:
        return decode_job(body)
    except json_values.InvalidJson as error:
        raise MalformedRequest("malformed_json", f"{what} is not JSON: {error}.") from None


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            "unsupported_media_type",
            "Send the job as JSON, with the header Content-Type: application/json, or as a form, "
            "multipart/form-data, with its items beside it.",
            headers={"Accept": "application/json, multipart/form-data"},
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


def _too_large(limits: GatewaySettings) -> BodyTooLarge:
    return BodyTooLarge(
        "body_too_large",
        f"At most {limits.max_body_bytes} bytes are allowed (FANFOLD_MAX_BODY_BYTES).",
        headers={"Connection": "close"},
    )
