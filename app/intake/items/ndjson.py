"""Items as NDJSON: one a line."""

from collections.abc import Iterator

from fanfold.app.intake.faults import ITEMS, refuse_limit
from fanfold.app.intake.items.item_check import ItemCheck

_BLANK = b" \t\r"


def items(
    blocks: Iterator[bytes], checker: ItemCheck, max_item_bytes: int
) -> Iterator[list[bytes]]:
    """The items' texts as they came, without the blanks around them. Empty lines are none."""
    index, line_count = 0, 0
    for lines in _lines(blocks, 2 * max_item_bytes):
        if texts := _checked(lines, checker, index, line_count):
            yield texts
        index += len(texts)
        line_count += len(lines)


def _lines(blocks: Iterator[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """The lines, many at a time; of a line without an end, as much as is over the limit."""
    begun: list[bytes] = []
    begun_bytes = 0
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            yield (b"".join(begun) + head).split(b"\n")
            begun, begun_bytes = [], 0
        begun.append(tail)
        begun_bytes += len(tail)
        if begun_bytes > max_bytes:
            break
    yield [b"".join(begun)]
    if begun_bytes > max_bytes:  # only blanks, or the item was refused
        refuse_limit(ITEMS, "bytes a line", max_bytes, "twice FANFOLD_MAX_ITEM_BYTES")


def _checked(lines: list[bytes], checker: ItemCheck, index: int, line_count: int) -> list[bytes]:
    texts = [text for line in lines if (text := line.strip(_BLANK))]

    def place(offset: int) -> str:
        numbers = [number for number, line in enumerate(lines, start=1) if line.strip(_BLANK)]
        return f"line {line_count + numbers[offset]}: "

    if texts:
        checker.check(texts, index, place)
    return texts
