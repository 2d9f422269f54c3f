"""Items one a line."""

from collections.abc import Iterator

from app.intake.checking import Checker
from app.intake.faults import item, refuse_limit

_BLANK = b" \t\r"


def items(blocks: Iterator[bytes], checker: Checker, max_item_bytes: int) -> Iterator[list[bytes]]:
    """The items' texts as they came, without the blanks around them. Empty lines are none."""
    index, line_count, rest = 0, 0, b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > max_item_bytes and len(rest.strip(_BLANK)) > max_item_bytes:
            lines.append(rest)  # to be refused, since it will not become shorter
        texts = _checked(lines, checker, index, line_count)
        index += len(texts)
        line_count += len(lines)
        if len(rest) > 2 * max_item_bytes:  # of blanks
            refuse_limit(
                item(index),
                "bytes a line",
                2 * max_item_bytes,
                "twice FANFOLD_MAX_ITEM_BYTES",
                line=f"line {line_count + 1}: ",
            )
        if texts:
            yield texts
    if texts := _checked([rest], checker, index, line_count):
        yield texts


def _checked(lines: list[bytes], checker: Checker, index: int, line_count: int) -> list[bytes]:
    texts = [text for line in lines if (text := line.strip(_BLANK))]

    def place(offset: int) -> str:
        numbers = [number for number, line in enumerate(lines, start=1) if line.strip(_BLANK)]
        return f"line {line_count + numbers[offset]}: "

    if texts:
        checker.check(texts, index, place)
    return texts
