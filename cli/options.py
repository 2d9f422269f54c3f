"""Arguments and options that several commands have, and what is checked before anything is sent."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

_LARGEST = 2**31 - 1
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_NONE = "none"

DEFAULT_URL = "http://localhost:8000"


def whole_number(least: int) -> Callable[[str | int], int]:
    """Reads a whole number, at least so large; what is beyond all counting is the largest."""

    def read(given: str | int) -> int:  # a default value is given as it is
        text = str(given)
        try:
            number = int(text) if text.isascii() and text.isdecimal() else least - 1
        except ValueError:  # it has thousands of digits
            number = _LARGEST
        if number < least:
            raise typer.BadParameter(f"'{text}' is no whole number from {least} on")
        return min(number, _LARGEST)

    return read


def number_above_0(given: str | float) -> float:
    """Reads a number above 0, in plain decimals."""
    text = str(given)
    if not _NUMBER.fullmatch(text) or float(text) == 0:
        raise typer.BadParameter(f"'{text}' is no number above 0")
    return float(text) if "." in text else int(text)


@dataclass(frozen=True)
class Given:
    """What an option was given, where that may be null as well."""

    value: Any


def in_json(text: str) -> Given:
    """Reads JSON."""
    from fanfold.contract.json_values import InvalidJson, decode

    try:
        return Given(decode(text.encode()))
    except InvalidJson as error:
        raise typer.BadParameter(f"this is not JSON: {error}") from None


def or_none(read: Callable[[str], Any]) -> Callable[[str], Given]:
    """Reads a new value, or the word that takes it away."""

    def parse(text: str) -> Given:
        if text == _NONE:
            return Given(None)
        try:
            value = read(text)
        except typer.BadParameter as error:
            raise typer.BadParameter(f"{error.message}, nor '{_NONE}'") from None
        return value if isinstance(value, Given) else Given(value)

    return parse


def fields(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - what options have
    """The fields of a body whose options were given."""
    return {
        name: option.value if isinstance(option, Given) else option
        for name, option in options.items()
        if option is not None
    }


Limit = Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Most shown.")]
Url = Annotated[str, typer.Option(envvar="FANFOLD_URL", help="The gateway's base URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a line an object, for scripts.")]
JobId = Annotated[str, typer.Argument(help="A job's id.", show_default=False)]
ChildIndex = Annotated[
    int, typer.Argument(parser=whole_number(0), help="The child's index.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option(help="A file to write to; it is there once it is whole.", dir_okay=False),
]


def state_of(kind: str) -> Callable[[str | None], str | None]:
    """A check that a state is one of `kind`: JobState, ChildState or ItemState of `fanfold`."""

    def check(given: str | None) -> str | None:
        if given is not None:
            _check_state(kind, given)
        return given

    return check


def states_of(kind: str) -> Callable[[list[str] | None], list[str] | None]:
    """The same check for an option that may be given more than once."""

    def check(given: list[str] | None) -> list[str] | None:
        for state in given or []:
            _check_state(kind, state)
        return given

    return check


def _check_state(kind: str, given: str) -> None:
    import fanfold

    states = [str(state) for state in getattr(fanfold, kind)]
    if given not in states:
        what = {"JobState": "a job", "ChildState": "a child", "ItemState": "an item"}[kind]
        nearest = get_close_matches(given, states, n=1, cutoff=0.5)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        message = f"'{given}' is no state of {what}{hint} (states: {', '.join(states)})"
        raise typer.BadParameter(message)


def labels_of(given: list[str] | None) -> dict[str, str]:
    """The labels in `name:value` texts, by their names."""
    labels: dict[str, str] = {}
    for text in given or []:
        name, colon, value = text.partition(":")
        if not colon or not name:
            raise typer.BadParameter(
                f"'{text}' is no name:value, like team:data", param_hint="'--label'"
            )
        if labels.setdefault(name, value) != value:
            message = f"no job has two values of the same label, and '{name}' is given two"
            raise typer.BadParameter(message, param_hint="'--label'")
    return labels
