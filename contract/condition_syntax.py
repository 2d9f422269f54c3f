"""Reads conditions: what of a text is no JMESPath, or can never be one that holds, and where.

The library finds most faults only when it evaluates, and knows no places then. So its tree is
walked once: names in it are met in the order of the text, as their tokens are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

from jmespath.exceptions import IncompleteExpressionError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.lexer import Lexer
from jmespath.parser import Parser
from jmespath.visitor import Visitor

from fanfold.contract import json_values
from fanfold.contract.condition_steps import Node
from fanfold.contract.wording import counted, did_you_mean, kind_of, suggested

MAX_CHARACTERS: Final = 1000
MAX_DEPTH: Final = 100
"""Of brackets, and of the tree. The parser takes 5 frames of Python's 1,000 a level, at worst."""

Fields: TypeAlias = Mapping[str, "Fields | None"]
"""The fields of an object, each with those of its own; None where anything may be there."""

_FUNCTIONS: Final[Mapping[str, Any]] = Functions.FUNCTION_TABLE
_OPENING: Final = frozenset({"filter", "lbrace", "lbracket", "lparen"})
_CLOSING: Final = frozenset({"rbrace", "rbracket", "rparen"})

_END: Final = "EOF"
_LITERAL: Final = "LITERAL"

_TEXT = r"'(?:\\.|[^'\\])*'"
_QUOTED_NAME = r'"(?:\\.|[^"\\])*"'
_PART = re.compile(rf"{_TEXT}|{_QUOTED_NAME}|`(?P<literal>(?:\\.|[^`\\])*)`|[^'\"`]+", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(r"[\w .:/-]+")
_CONSTANTS: Final = frozenset({"false", "null", "true"})
_MEANT: Final = {
    "&": "&&",
    "=": "==",
    "AND": "&&",
    "and": "&&",
    "NOT": "!",
    "not": "!",
    "OR": "||",
    "or": "||",
}
"""What other languages write, and JMESPath otherwise."""

_GIVEN_BY_NODES: Final = {
    "filter_projection": "an array",
    "flatten": "an array",
    "multi_select_dict": "an object",
    "multi_select_list": "an array",
    "projection": "an array",
    "value_projection": "an array",
}
_GIVEN_BY_FUNCTIONS: Final = {
    **dict.fromkeys(("abs", "avg", "ceil", "floor", "length", "sum", "to_number"), "a number"),
    **dict.fromkeys(("max", "min"), "a number or a string"),
    **dict.fromkeys(("join", "to_string", "type"), "a string"),
    **dict.fromkeys(("keys", "map", "sort", "sort_by", "to_array", "values"), "an array"),
    "merge": "an object",
    "reverse": "an array or a string",
}


class InvalidCondition(ValueError):
    """The text is no condition; the message says where, and what is wrong there."""

    def __init__(self, what: str, position: int) -> None:
        """Keep what is wrong, and its place in the text."""
        self.what = what
        self.column = position + 1
        super().__init__(f"column {self.column}: {what}")


def parse(text: str, over: Fields | None = None) -> Node:
    """The tree of a condition over data with these fields. Raises InvalidCondition."""
    if len(text) > MAX_CHARACTERS:
        what = f"a condition has at most {MAX_CHARACTERS} characters, this has {len(text)}"
        raise InvalidCondition(what, MAX_CHARACTERS)
    if not text.strip():
        raise InvalidCondition("there is no text", 0)
    _check_literals(text)
    try:
        tokens: list[Any] = list(Lexer().tokenize(text))
        _check_tokens(tokens)
        tree = Parser().parse(text).parsed
    except LexerError as error:
        raise InvalidCondition(
            _no_token(text, error.lexer_position), error.lexer_position
        ) from None
    except IncompleteExpressionError:
        raise _not_whole(text) from None
    except ParseError as error:
        if error.token_type == _END:
            raise _not_whole(text) from None
        raise InvalidCondition(_misplaced(text, error), error.lex_position) from None
    except RecursionError:
        raise _too_deep(0) from None
    _Walk(text, tokens).visit(tree, over)
    _check_given(tree)
    return tree


# --- of the text --------------------------------------------------------------------------


def _check_literals(text: str) -> None:
    """The library takes text that is no JSON for a string, and warns."""
    at = 0
    while part := _PART.match(text, at):
        literal = part["literal"]
        if literal is not None:
            try:
                json_values.decode(literal.replace("\\`", "`").encode("utf-8", "surrogatepass"))
            except json_values.InvalidJson as error:
                hint = ""
                if _WORD.fullmatch(literal):
                    hint = f"; text stands in single quotes: '{literal.strip()}'"
                what = f"between backticks has to be JSON: {error.what}{hint}"
                raise InvalidCondition(what, at) from None
        at = part.end()


def _check_tokens(tokens: Sequence[Any]) -> None:
    depth = colons = 0
    for token, following in pairwise(tokens):
        kind, at = token["type"], token["start"]
        depth += (kind in _OPENING) - (kind in _CLOSING)
        if depth > MAX_DEPTH:
            raise _too_deep(at)
        if kind == "quoted_identifier" and following["type"] == "lparen":
            raise InvalidCondition("the name of a function stands without quotes", at)
        colons = 0 if kind in _OPENING else colons + (kind == "colon")
        if kind == "number" and token["value"] == 0 and colons > 1:
            raise InvalidCondition("the step of a slice is not 0", at)


def _no_token(text: str, at: int) -> str:
    here = text[at]
    if here in "'\"`":
        name = "backtick" if here == "`" else "quote"
        if here == '"' and _PART.match(text, at):
            return "between double quotes has to be a JSON string, the name of a field"
        return f"this {name} is never closed"
    return _instead(text, at) or f"{here!r} is no part of JMESPath"


def _misplaced(text: str, error: ParseError) -> str:
    at = error.lex_position
    if error.token_type == _LITERAL:
        return "a value cannot stand here"
    return _instead(text, at) or f"{error.token_value!r} cannot stand here"


def _instead(text: str, at: int) -> str:
    """What is to be written in place of what stands there, for the frequent mistakes."""
    number = _NUMBER.match(text, at)
    if number:
        return f"a number stands between backticks: `{number[0]}`"
    word = re.match(r"\w+|\W", text[at:])
    meant = _MEANT.get(word[0]) if word else None
    return f"write {meant} for {word[0]}" if word and meant else ""


def _not_whole(text: str) -> InvalidCondition:
    return InvalidCondition("the text ends before it is whole", len(text.rstrip()))


def _too_deep(at: int) -> InvalidCondition:
    return InvalidCondition(f"nested more than {MAX_DEPTH} levels deep", at)


# --- of the tree --------------------------------------------------------------------------


class _Walk(Visitor):
    """Goes through the tree in the order of the text.

    `visit` takes a node with the fields of the object that it is of, and gives those of what the
    node gives.
    """

    def __init__(self, text: str, tokens: Sequence[Any]) -> None:
        super().__init__()
        self._text = text
        self._names = _places(tokens, "quoted_identifier", "unquoted_identifier")
        self._references = _places(tokens, "expref")
        self._at = self._depth = 0

    def visit(self, node: Node, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(self._at)
        given = super().visit(node, *args, **kwargs)
        self._depth -= 1
        return given

    def default_visit(self, node: Node, fields: Fields | None) -> None:  # type: ignore[override]
        for child in node["children"]:
            self.visit(child, fields)

    def visit_current(self, _node: Node, fields: Fields | None) -> Fields | None:
        return fields

    visit_identity = visit_current

    def visit_field(self, node: Node, fields: Fields | None) -> Fields | None:
        self._at = next(self._names)
        if fields is None:
            return None
        name = node["value"]
        if name not in fields:
            raise InvalidCondition(self._no_field(name, fields), self._at)
        return fields[name]

    def visit_key_val_pair(self, node: Node, fields: Fields | None) -> None:
        self._at = next(self._names)
        self.default_visit(node, fields)

    def visit_pipe(self, node: Node, fields: Fields | None) -> Fields | None:
        for child in node["children"]:
            fields = self.visit(child, fields)
        return fields

    visit_index_expression = visit_subexpression = visit_pipe

    def visit_projection(self, node: Node, fields: Fields | None) -> None:
        left, *of_each = node["children"]
        self.visit(left, fields)
        for child in reversed(of_each):  # a filter's condition is its last
            self.visit(child, None)

    visit_filter_projection = visit_value_projection = visit_projection

    def visit_slice(self, _node: Node, _fields: Fields | None) -> None:
        """Its children are numbers."""

    def visit_expref(self, _node: Node, _fields: Fields | None) -> None:
        what = "& stands before an argument of a function that takes an expression"
        raise InvalidCondition(what, next(self._references))

    def visit_function_expression(self, node: Node, fields: Fields | None) -> None:
        self._at = next(self._names)
        for argument, takes_expression in self._arguments(node["value"], node["children"]):
            if takes_expression:
                next(self._references)
                self.visit(argument["children"][0], None)
            else:
                self.visit(argument, fields)

    def _arguments(self, name: str, given: list[Any]) -> list[tuple[Any, bool]]:
        """The arguments of a function, each with whether it is an expression, as it has to be."""
        if name not in _FUNCTIONS:
            nearest = suggested(name, _FUNCTIONS, "functions")
            raise InvalidCondition(f"there is no function '{name}'{nearest}", self._at)
        parameters = _FUNCTIONS[name]["signature"]
        least, is_variadic = len(parameters), bool(parameters[-1].get("variadic"))
        if len(given) < least or (len(given) > least and not is_variadic):
            takes = f"{'at least ' if is_variadic else ''}{counted(least, 'argument')}"
            raise InvalidCondition(f"{name}() takes {takes}, and is given {len(given)}", self._at)
        arguments = []
        for place, argument in enumerate(given):
            takes_expression = "expref" in parameters[min(place, least - 1)]["types"]
            if takes_expression != (argument["type"] == "expref"):
                what = "is an expression, of each element: it stands after &"
                if not takes_expression:
                    what = "is no expression: it stands without &"
                raise InvalidCondition(f"argument {place + 1} of {name}() {what}", self._at)
            arguments.append((argument, takes_expression))
        return arguments

    def _no_field(self, name: str, fields: Fields) -> str:
        near = did_you_mean(name, fields)
        if self._text[self._at] == '"' and not near:
            return f"double quotes are for names of fields; text stands in single ones: '{name}'"
        if name in _CONSTANTS:
            return f"{name} stands between backticks: `{name}`"
        return f"there is no field '{name}' here{suggested(name, fields, 'fields')}"


def _places(tokens: Sequence[Any], *kinds: str) -> Iterator[int]:
    return iter([token["start"] for token in tokens if token["type"] in kinds])


def _check_given(tree: Node) -> None:
    """What can never be true or false is no condition."""
    last = tree
    while last["type"] in {"pipe", "subexpression"}:
        last = last["children"][-1]
    kind = _GIVEN_BY_NODES.get(last["type"])
    if last["type"] == "function_expression":
        kind = _GIVEN_BY_FUNCTIONS.get(last["value"])
    elif last["type"] == "literal" and not isinstance(last["value"], bool):
        kind = kind_of(last["value"])
    if kind:
        what = f"it gives {kind}, where a condition gives true or false: compare it with something"
        raise InvalidCondition(what, 0)
