"""Checks parsed JSON values: what the ledger can store, and how deep they are nested."""

from typing import Any

from app.http.errors import pointer
from app.intake.faults import refuse
from contract import json_values


def encode(value: Any, path: tuple[str | int, ...]) -> bytes:  # noqa: ANN401 - any JSON value
    """The value as JSON text; raises InvalidJob where the ledger cannot store it exactly."""
    try:
        return json_values.encode(value)
    except json_values.UnstorableValue as error:
        refuse("invalid_value", pointer(*path, *error.path), f"the value {error}")


def check_nesting(value: Any, limit: int, path: tuple[str | int, ...]) -> None:  # noqa: ANN401
    """Raises InvalidJob where the value is nested too deep."""
    if json_values.nests_deeper_than(value, limit):
        refuse(
            "limit_exceeded",
            pointer(*path),
            f"nested more than {limit} levels deep (FANFOLD_MAX_NESTING_DEPTH)",
        )
