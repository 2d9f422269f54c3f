"""Words that errors share: JSON's own names of things, and the nearest right word."""

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

_MOST_SUGGESTED: Final = 3
_NEAR: Final = 0.7
"""How alike two words have to be, from 0 to 1."""
_LONGEST_COMPARED: Final = 200
"""Of a longer word nothing is suggested: to compare it would take too long."""


_KINDS: Final = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "an array",
    str: "a string",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """What a JSON value is, in JSON's words: the value itself is never repeated."""
    return _KINDS.get(type(value), "another value")


def one_of(names: Iterable[object]) -> str:
    """`a, b or c`."""
    *most, last = map(str, names)
    return f"{', '.join(most)} or {last}" if most else last


def one_of_kinds(kinds: Iterable[str]) -> str:
    """`an array or a number`, each once; an integer is a number."""
    once = dict.fromkeys(kinds)
    return one_of(kind for kind in once if kind != "an integer" or "a number" not in once)


def not_one_of(choices: Sequence[object], given: object) -> str:
    """What is wrong with a value that is none of the choices."""
    words = [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
    near = did_you_mean(given, words) if len(words) > 1 else ""
    return f"must be {one_of(words)}{near}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`; did you mean a or b?`, with the known words nearest to this one; empty if none is near."""
    if not isinstance(word, str) or len(word) > _LONGEST_COMPARED:
        return ""
    by_lower_case = {name.lower(): name for name in known}
    word = word.lower()
    near = get_close_matches(word, by_lower_case, n=_MOST_SUGGESTED, cutoff=_NEAR)
    near = near or [name for name in by_lower_case if _is_part(word, name)][:_MOST_SUGGESTED]
    return f"; did you mean {one_of(by_lower_case[name] for name in near)}?" if near else ""


def _is_part(word: str, name: str) -> bool:
    """Whether a name says all that the word says, and more: `timeout`, `chunk_timeout_seconds`."""
    return set(word.split("_")) < set(name.split("_"))


def suggested(word: object, known: Iterable[str], what: str) -> str:
    """The nearest known words; where none is near, all of them as `what`."""
    names = sorted(known)
    if not names:
        return ""
    all_of_them = f"the {what} are" if len(names) > 1 else f"the only {what.removesuffix('s')} is"
    return did_you_mean(word, names) or f"; {all_of_them} {', '.join(names)}"


def counted(count: int, what: str) -> str:
    """`1 item`, `2 items`."""
    return f"{count} {what}{'s' * (count != 1)}"
