"""Transforms strings."""

from collections.abc import Callable
from typing import Any

from fanfold.contract.wording import kind_of
from fanfold.processing import ValidationError, example


@example(
    {
        "items": ["  ada  ", "grace"],
        "chunk_size": 1,
        "options": {"strip": True, "upper": True, "prefix": "DR. "},
        "reducer": "merge",
    }
)
def transform(
    item: Any,  # noqa: ANN401 - any JSON value passes through unchanged
    *,
    fields: list[str] | None = None,
    strip: bool = False,
    lower: bool = False,
    upper: bool = False,
    title: bool = False,
    reverse: bool = False,
    prefix: str = "",
    suffix: str = "",
) -> Any:  # noqa: ANN401 - the same
    """Change strings: `strip`, `lower`, `upper`, `title`, `reverse`, `prefix`, `suffix`.

    What is asked for is done in that order. Items are strings, or objects whose
    `fields` are changed. Without options every item comes back unchanged, whatever
    JSON value it is.
    """
    steps: list[tuple[bool, Callable[[str], str]]] = [
        (strip, str.strip),
        (lower, str.lower),
        (upper, str.upper),
        (title, str.title),
        (reverse, lambda text: text[::-1]),
        (bool(prefix), lambda text: prefix + text),
        (bool(suffix), lambda text: text + suffix),
    ]
    wanted = [function for is_wanted, function in steps if is_wanted]
    if not wanted:
        return item

    def change(text: object, place: str) -> str:
        if not isinstance(text, str):
            raise ValidationError(f"{place}: must be a string, not {kind_of(text)}")
        for function in wanted:
            text = function(text)
        return text

    if fields is None:
        return change(item, "the value")
    if not isinstance(item, dict):
        raise ValidationError(f"the value: must be an object with the fields, not {kind_of(item)}")
    return {key: change(value, key) if key in fields else value for key, value in item.items()}
