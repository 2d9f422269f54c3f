"""Conditions: the `when` of a stage, and of a sub-job in a sequence, in JMESPath.

`check` reads one as a client wrote it, `holds` decides one. What a condition takes is bounded in
its length, its depth and its steps, whoever wrote it. It may be seconds all the same, which is
too long for an event loop, and for a workflow: decide in a thread of an activity.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import TYPES_MAP

from fanfold.contract.condition_steps import (
    MAX_STEPS,
    Incomparable,
    Interpreter,
    TooManySteps,
)
from fanfold.contract.condition_syntax import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    Fields,
    InvalidCondition,
    parse,
)
from fanfold.contract.wording import kind_of, one_of

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "MAX_STEPS",
    "OF_STAGE",
    "Fields",
    "InvalidCondition",
    "UndecidableCondition",
    "check",
    "holds",
]

OF_STAGE: Final[Fields] = {"items": None, "first": None}
"""What the condition of a stage is over: the chunk's items as they reach it, and the first."""

_REMEMBERED: Final = 256
_KINDS: Final = {
    "array": "an array",
    "boolean": "true or false",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class UndecidableCondition(ValueError):
    """The condition is neither true nor untrue of this data; the message says why."""


def check(text: str, over: Fields | None = None) -> None:
    """Raises InvalidCondition where the text is no condition over data with these fields.

    All is found that does not depend on data: unknown functions and fields, wrong numbers of
    arguments, what can give neither true nor false. With None any field may be there.
    """
    parse(text, over)


def holds(text: str, data: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether the condition is true of the data. Raises UndecidableCondition.

    True is JSON's `true`; `false` and `null` are not true. To JMESPath's own `&&` and `[?...]`
    everything but null, false and what is empty is true, 0 and "false" among it. Here such a
    value is an error: mostly a comparison was forgotten, and a job that goes on as if it had
    been there would do, or leave out, its work without a word.
    """
    try:
        given = Interpreter().visit(_parsed(text), data)
    except (InvalidCondition, Incomparable) as error:
        what = str(error)
    except TooManySteps:
        what = f"it takes more than {MAX_STEPS} steps over this data"
    except JMESPathTypeError as error:
        what = _wrong_type(error)
    except RecursionError:
        what = "the data is nested too deeply"
    except (JMESPathError, ArithmeticError, TypeError, ValueError) as error:
        what = str(error)
    else:
        if given is None or isinstance(given, bool):
            return given is True
        what = f"it gives {kind_of(given)}, where a condition gives true or false"
    raise UndecidableCondition(f"{what}: {text}")


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Any:  # noqa: ANN401 - the library's types are not exported
    return parse(text)


def _wrong_type(error: JMESPathTypeError) -> str:
    """The library's own words repeat the value, which may be of any size, and secret."""
    takes = one_of(_kinds(error.expected_types))
    given = _KINDS.get(error.actual_type)
    if given is None:
        # Of an element it has Python's name of the type.
        element = _KINDS.get(TYPES_MAP.get(error.actual_type, ""), "another value")
        given = f"an array with {element} in it"
    return f"{error.function_name}() takes {takes}, and is given {given}"


def _kinds(types: Sequence[str]) -> list[str]:
    """`an array of numbers`, in the library's words `array-number`."""
    kinds = []
    for name in types:
        kind, _, of = name.partition("-")
        kinds.append(_KINDS.get(kind, kind) + (f" of {of}s" if of else ""))
    return kinds
