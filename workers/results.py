"""What user code gave, as JSON text."""

from typing import Any, Final

from pydantic_core import to_jsonable_python

from fanfold.contract import json_values

MAX_DEPTH: Final = 200
"""So deep may a result be nested: what is deeper not every reader can parse."""


class Unusable(Exception):
    """A result that is not JSON; the message says why."""


def encode(result: Any) -> bytes:  # noqa: ANN401 - what user code returned
    """The JSON text of a result; raises Unusable where it has none."""
    try:
        try:
            text = json_values.encode(result)
        except TypeError:
            # Dates, dataclasses, pydantic models and such have one obvious JSON form.
            result = to_jsonable_python(result)
            text = json_values.encode(result)
    except json_values.UnstorableValue as error:
        place = "".join(f"[{step!r}]" for step in error.path)
        raise Unusable(f"the result{place} {error}") from None
    except Exception as error:  # noqa: BLE001 - user objects may raise anything when serialized
        raise Unusable(f"the result is not JSON: {error}") from None
    # Of depth n only what has so many opening brackets.
    brackets = text.count(b"[") + text.count(b"{")
    if brackets > MAX_DEPTH and json_values.nests_deeper_than(result, MAX_DEPTH):
        raise Unusable(f"the result is nested more than {MAX_DEPTH} levels deep")
    return text
