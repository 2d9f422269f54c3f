"""What the tests of the intake share: data in pieces, and what became of it."""

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from fanfold.app.http.errors import Problem
from fanfold.app.intake.items import decompression
from fanfold.app.intake.items.formats import Encoded, Format
from fanfold.app.intake.items.parsing import chunks_of
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.cutting import Cut
from fanfold.intake.faults import InvalidJob
from fanfold.intake.item_schema import ItemSchema

LIMITS = GatewaySettings()


def limits(**changed: int) -> GatewaySettings:
    return LIMITS.model_copy(update=changed)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(
    data: bytes,
    which: Format,
    *,
    is_gzip: bool = False,
    piece_bytes: int = 1 << 20,
    within: GatewaySettings = LIMITS,
    cut: Cut | None = None,
    is_whole: bool = True,
    schema: ItemSchema | None = None,
) -> list[Any]:
    """The chunks that this data makes."""
    encoded = Encoded(which, is_gzip)
    blocks = pieces(data, piece_bytes)
    # The pieces are not put together, so that they end where the test wants it.
    with mock.patch.object(
        decompression, "LEAST_BYTES", min(piece_bytes, decompression.LEAST_BYTES)
    ):
        made = list(
            chunks_of(
                blocks,
                encoded,
                cut or Cut(1000, None),
                within,
                is_whole=is_whole,
                schema=schema,
            )
        )
    bodies = [json.loads(chunk.body) for chunk in made]
    assert [chunk.item_count for chunk in made] == [len(body) for body in bodies]
    return bodies


def items(data: bytes, which: Format, **how: Any) -> list[Any]:
    return [item for chunk in read(data, which, **how) for item in chunk]


def refusal(data: bytes, which: Format, **how: Any) -> tuple[int, str, str, str]:
    """Status, code, place and message."""
    with pytest.raises((Problem, InvalidJob)) as refused:
        read(data, which, **how)
    found: Any = refused.value
    place, message = "", found.detail
    if found.errors:
        (fault,) = found.errors
        place, message = fault.pointer, fault.message
    return getattr(found, "status", 422), found.code, place, message
