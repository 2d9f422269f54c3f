"""What pydantic finds wrong, in JSON's words, for whoever wrote the data.

`message_of` is for answers of the gateway: nothing of Python is ever seen in one. `summary` is
for what a worker records of data that does not fit an annotation, which may be anything:
where there are no words of ours, those of pydantic, or of the user's own validator, say most.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any, Final, get_args

import pydantic_core
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from fanfold.contract.wording import counted, kind_of, not_one_of, one_of_kinds

_Context = Mapping[str, Any]
_Place = tuple[int | str, ...]

_OWN: Final = frozenset(get_args(ErrorType))
"""Pydantic's own types. Any other one is ours, and has our own words."""
_MOST_TOLD: Final = 5
"""So many faults of a value are told in one sentence."""

# What a value must be, where it is of another kind.
_KINDS: Final = {
    "bool_type": "true or false",
    "dataclass_type": "an object",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "an integer",
    "list_type": "an array",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "none_required": "null",
    "set_type": "an array",
    "string_type": "a string",
    "tuple_type": "an array",
}
# Text that cannot be read as another kind: in a query all is text, in JSON text is a kind.
_OF_PARSING: Final = {
    "bool_parsing": "bool_type",
    "float_parsing": "float_type",
    "int_parsing": "int_type",
}
# What is wrong with a value of the right kind, by the limit.
_LIMITS: Final[dict[str, Callable[[_Context], str]]] = {
    "bool_parsing": lambda _: "must be true or false",
    "extra_forbidden": lambda _: "is unknown",
    "finite_number": lambda _: "must fit a 64-bit float",
    "float_parsing": lambda _: "must be a number",
    "greater_than": lambda limits: f"must be above {_limit(limits['gt'])}",
    "greater_than_equal": lambda limits: f"must be at least {_limit(limits['ge'])}",
    "int_from_float": lambda _: "must be an integer, without a fraction",
    "int_parsing": lambda _: "must be an integer",
    "int_parsing_size": lambda _: "has too many digits",
    "less_than": lambda limits: f"must be below {_limit(limits['lt'])}",
    "less_than_equal": lambda limits: f"must be at most {_limit(limits['le'])}",
    "missing": lambda _: "is required",
    "multiple_of": lambda limits: f"must be a multiple of {_limit(limits['multiple_of'])}",
    "string_pattern_mismatch": lambda limits: f"must match the pattern {limits['pattern']}",
    "string_too_long": lambda limits: (
        f"must have at most {counted(limits['max_length'], 'character')}"
    ),
    "string_too_short": lambda limits: (
        f"must have at least {counted(limits['min_length'], 'character')}"
    ),
    "string_unicode": lambda _: "must not hold a lone surrogate, which is not a Unicode character",
    "too_long": lambda limits: (
        f"must have at most {counted(limits['max_length'], 'item')}{_not(limits)}"
    ),
    "too_short": lambda limits: (
        f"must have at least {counted(limits['min_length'], 'item')}{_not(limits)}"
    ),
}
_CHOICES: Final = frozenset({"enum", "literal_error"})
_MEMBER = re.compile(r"<[\w.]+: ([^>]*)>")
_CHOICE = re.compile(r"""'((?:[^'\\]|\\.)*)'|"([^"]*)"|([^\s,]+)""")
_FROM_PYTHON: Final = {"True": "true", "False": "false", "None": "null"}
_RAISED: Final = frozenset({"value_error", "assertion_error"})


def message_of(fault: ErrorDetails) -> str:
    """What is wrong with a value, by the fault that pydantic found with it."""
    words = _in_our_words(fault)
    return words or ("is not valid here" if fault["type"] in _OWN else fault["msg"])


def summary(error: pydantic_core.ValidationError, value: object) -> str:
    """What is wrong with this value: each fault with its place, `net: is required`."""
    told = dict.fromkeys(
        f"{'.'.join(map(str, place)) or 'the value'}: {message}"
        for place, message in _told(error, value)
    )
    return "; ".join(list(told)[:_MOST_TOLD])


def _told(error: pydantic_core.ValidationError, value: object) -> Iterator[tuple[_Place, str]]:
    """The faults, each with its place.

    That a value is of no kind that the forms of a union have is one fault; and none where it is
    of the kind of one of them, whose faults are told.
    """
    faults = [(_place(fault, value), fault) for fault in error.errors(include_url=False)]
    of_a_kind = {place for place, fault in faults if not _kind(fault)}
    of_a_kind |= {place[:end] for place, _ in faults for end in range(len(place))}
    kinds: dict[_Place, list[str]] = {}
    for place, fault in faults:
        if kind := _kind(fault):
            kinds.setdefault(place, []).append(_KINDS[kind])
    for place, fault in faults:
        if not _kind(fault):
            yield place, _in_our_words(fault) or _in_their_words(fault)
        elif place not in of_a_kind:
            yield place, f"must be {one_of_kinds(kinds[place])}, not {kind_of(fault['input'])}"


def _place(fault: ErrorDetails, value: Any) -> _Place:  # noqa: ANN401 - any JSON value
    """Where the fault is, by steps that are in the value: pydantic names forms of unions too."""
    steps: list[int | str] = []
    last = len(fault["loc"]) - 1
    for at, step in enumerate(fault["loc"]):
        if _has(value, step):
            value = value[step]
        elif not (at == last and fault["type"] == "missing"):
            continue
        steps.append(step)
    return tuple(steps)


def _has(value: Any, step: int | str) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _kind(fault: ErrorDetails) -> str:
    """The type of a fault by which JSON's value is of another kind; empty for any other fault."""
    kind = _type(fault)
    kind = _OF_PARSING.get(kind, kind)
    return kind if kind in _KINDS else ""


def _type(fault: ErrorDetails) -> str:
    """The type of a fault; that of the limit, where it is of a number which is only too large."""
    kind, value = fault["type"], fault["input"]
    if kind == "int_type" and isinstance(value, float):
        return "int_from_float" if math.isfinite(value) else "finite_number"
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return "finite_number" if kind == "float_type" and is_integer else kind


def _in_our_words(fault: ErrorDetails) -> str:
    """Empty where there are none."""
    kind, limits = _type(fault), fault.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {kind_of(fault['input'])}"
    if kind in _CHOICES:
        return not_one_of(_choices(limits["expected"]), fault["input"])
    if kind in _LIMITS:
        # Of a name, not the value that has it.
        return f"{'the name ' * (fault['loc'][-1:] == ('[key]',))}{_LIMITS[kind](limits)}"
    return ""


def _in_their_words(fault: ErrorDetails) -> str:
    """What a user's own validator raised, or pydantic's message."""
    raised = fault.get("ctx", {}).get("error") if fault["type"] in _RAISED else None
    return fault["msg"] if raised is None else str(raised) or "is not valid here"


def _choices(expected: str) -> list[str]:
    """What pydantic joins to `'a', 2 or None`."""
    found = _CHOICE.findall(_MEMBER.sub(r"\1", expected))
    words = [one or other or _FROM_PYTHON.get(bare, bare) for one, other, bare in found]
    return [word for word, (*_, bare) in zip(words, found, strict=True) if bare != "or"]


def _limit(limit: object) -> str:
    return f"{limit:.15g}" if isinstance(limit, Real) else str(limit)


def _not(limits: _Context) -> str:
    actual = limits["actual_length"]
    return "" if actual is None else f", not {actual}"
