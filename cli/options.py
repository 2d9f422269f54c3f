"""Arguments and options that several commands have, and what is checked before anything is sent."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated

import typer

_LARGEST = 2**31 - 1

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


Limit = Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Most shown.")]
Url = Annotated[str, typer.Option(envvar="FANFOLD_URL", help="The gateway's base URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a line an object, for scripts.")]
JobId = Annotated[str, typer.Argument(help="A job's id.", show_default=False)]


def state_of(kind: str) -> Callable[[str | None], str | None]:
    """A check that a state is one of `kind`: JobState, ChildState or ItemState of `fanfold`."""

    def check(given: str | None) -> str | None:
        if given is None:
            return None
        import fanfold

        states = [str(state) for state in getattr(fanfold, kind)]
        if given not in states:
            what = {"JobState": "a job", "ChildState": "a child", "ItemState": "an item"}[kind]
            nearest = get_close_matches(given, states, n=1, cutoff=0.5)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
            message = f"'{given}' is no state of {what}{hint} (states: {', '.join(states)})"
            raise typer.BadParameter(message)
        return given

    return check


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
