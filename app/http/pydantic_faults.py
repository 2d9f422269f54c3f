"""What pydantic finds wrong, in JSON's words: nothing of Python is seen in an answer."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from fanfold.app.http.wording import counted, kind_of, not_one_of

_Context = Mapping[str, Any]

_OWN: Final = frozenset(get_args(ErrorType))
"""Pydantic's own types. Any other one is ours, and has our own words."""
_QUOTED = re.compile(r"'([^']*)'")

# What a value must be, where it is of another kind.
_KINDS: Final = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "an integer",
    "list_type": "an array",
    "model_type": "an object",
    "string_type": "a string",
}
# What is wrong with a value of the right kind, by the limit.
_LIMITS: Final[dict[str, Callable[[_Context], str]]] = {
    "bool_parsing": lambda _: "must be true or false",
    "extra_forbidden": lambda _: "is unknown",
    "finite_number": lambda _: "must fit a 64-bit float",
    "float_parsing": lambda _: "must be a number",
    "greater_than": lambda limits: f"must be above {limits['gt']:.15g}",
    "greater_than_equal": lambda limits: f"must be at least {limits['ge']:.15g}",
    "int_from_float": lambda _: "must be an integer, without a fraction",
    "int_parsing": lambda _: "must be an integer",
    "int_parsing_size": lambda _: "has too many digits",
    "less_than": lambda limits: f"must be below {limits['lt']:.15g}",
    "less_than_equal": lambda limits: f"must be at most {limits['le']:.15g}",
    "missing": lambda _: "is required",
    "string_pattern_mismatch": lambda limits: f"must match the pattern {limits['pattern']}",
    "string_too_long": lambda limits: (
        f"must have at most {counted(limits['max_length'], 'character')}"
    ),
    "string_too_short": lambda limits: (
        f"must have at least {counted(limits['min_length'], 'character')}"
    ),
    "string_unicode": lambda _: "must not hold a lone surrogate, which is not a Unicode character",
    "too_long": lambda limits: (
        f"must have at most {counted(limits['max_length'], 'item')}, not {limits['actual_length']}"
    ),
    "too_short": lambda limits: (
        f"must have at least {counted(limits['min_length'], 'item')}, not {limits['actual_length']}"
    ),
}
_CHOICES: Final = frozenset({"enum", "literal_error"})


def message_of(fault: ErrorDetails) -> str:
    """What is wrong with a value, by the fault that pydantic found with it."""
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "int_type" and isinstance(fault["input"], float):
        kind = "int_from_float"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {kind_of(fault['input'])}"
    if kind in _CHOICES:
        return not_one_of(_QUOTED.findall(limits["expected"]), fault["input"])
    if kind in _LIMITS:
        # Of a name, not the value that has it.
        return f"{'the name ' * (fault['loc'][-1:] == ('[key]',))}{_LIMITS[kind](limits)}"
    return "is not valid here" if kind in _OWN else fault["msg"]
