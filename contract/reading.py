"""Reads what another release may have written: what this one does not know is passed over."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any


def known_fields(kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Of a JSON object, what this release's dataclass `kind` has a field for."""
    names = _fields_of(kind)
    return {name: value for name, value in raw.items() if name in names}


@functools.cache
def _fields_of(kind: type) -> frozenset[str]:
    return frozenset(each.name for each in dataclasses.fields(kind))
