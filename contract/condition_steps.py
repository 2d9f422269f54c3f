"""Evaluates JMESPath within a number of steps, and so within a bounded time and memory.

The library sets no bounds, and a short expression can cost without any: `[@,@][]` doubles its
data, as often as it is repeated. A step is a visit of a node of the expression, or a value or 16
characters that a function, a comparison or a flattening reads. So the memory taken grows with the
steps too.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from jmespath import ast
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

from fanfold.contract.wording import kind_of

MAX_STEPS: Final = 5_000_000
"""Some four seconds of a core at worst. A filter takes some 6 steps an item."""

Node: TypeAlias = Any
"""A node of the library's tree: a type that it does not export."""

_CHARACTERS_A_STEP: Final = 16
_READ_NOTHING: Final = frozenset({"length", "not_null", "to_array", "type"})
_SORT: Final = frozenset({"sort", "sort_by"})


class TooManySteps(Exception):
    """The expression takes more than MAX_STEPS over this data."""


class Incomparable(Exception):
    """A number and a text were compared by their order."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} have no order: compare two numbers, or two strings")


class Interpreter(TreeInterpreter):
    """Evaluates one expression once. `visit` raises TooManySteps, and what the library raises."""

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_Functions(self)))
        self._steps_left = MAX_STEPS

    def visit(self, node: Node, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """The value of a node."""
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: Node, value: Any) -> Any:  # noqa: ANN401
        """True, false, or null where one of the two has no order."""
        left, right = (self.visit(child, value) for child in node["children"])
        if isinstance(left, list | dict | str):
            self.weigh(left)
        try:
            return super().visit_comparator(_with(node, left, right), None)
        except TypeError:
            # The library knows an order of numbers, and one of strings: dates, mostly.
            raise Incomparable(kind_of(left), kind_of(right)) from None

    def visit_flatten(self, node: Node, value: Any) -> Any:  # noqa: ANN401
        """The elements of the elements."""
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self.spend(sum(len(one) if isinstance(one, list) else 1 for one in base))
        return super().visit_flatten(_with(node, base), None)

    def visit_slice(self, node: Node, value: Any) -> Any:  # noqa: ANN401
        """A part of an array."""
        if isinstance(value, list):
            self.spend(len(value))
        return super().visit_slice(node, value)

    def spend(self, steps: int) -> None:
        """Count steps that are about to be taken; raises TooManySteps."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise TooManySteps

    def weigh(self, value: Any) -> None:  # noqa: ANN401
        """Count the steps of reading a value to its depth, as often as anything is in it."""
        unread = [value]
        while unread:
            one = unread.pop()
            if isinstance(one, str):
                self.spend(len(one) // _CHARACTERS_A_STEP)
            elif isinstance(one, int):
                # Long ones are written in quadratic time.
                self.spend((one.bit_length() // 1000) ** 2)
            elif isinstance(one, list):
                self.spend(len(one))
                unread += one
            elif isinstance(one, dict):
                self.spend(len(one))
                unread += one
                unread += one.values()


class _Functions(Functions):
    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:  # noqa: ANN401
        arguments = list(resolved_args)
        if function_name not in _READ_NOTHING:
            for argument in arguments:
                self._interpreter.weigh(argument)
        match arguments:
            case [list() as array, *_] if function_name in _SORT:
                self._interpreter.spend(len(array) * len(array).bit_length())
            case [str() as separator, list() as array] if function_name == "join":
                self._interpreter.spend(len(separator) * len(array) // _CHARACTERS_A_STEP)
            case [str(), search] if function_name == "contains" and not isinstance(search, str):
                return False  # by the specification; the library raises
        return super().call_function(function_name, arguments)


def _with(node: Node, *values: Any) -> Any:  # noqa: ANN401
    """The node over children that have these values already."""
    return {**node, "children": [ast.literal(value) for value in values]}
