"""Items as NDJSON: one a line."""

from collections.abc import Iterator

from fanfold.app.intake.items.item_check import ItemCheck
from fanfold.contract import json_values
from fanfold.intake.faults import ITEMS, Fault, InvalidJob, item, refuse, refuse_limit

_BLANK = b" \t\r"
_ARRAY = b"["


_AS_JSON = (
    "if it holds all items, send it as application/json (a file as .json): "
    "in NDJSON each line is one item"
)


def items(
    blocks: Iterator[bytes], checker: ItemCheck, max_item_bytes: int, *, is_whole: bool
) -> Iterator[list[bytes]]:
    """The items' texts as they came, without the blanks around them. Empty lines are none.

    Where the data may be the whole of a job's (`is_whole`), a single line with an array of
    several values is refused: far more often than one item it is all of them, as JSON.
    """
    index, line_count = 0, 0
    only = b""
    for lines in _lines(blocks, 2 * max_item_bytes):
        if texts := _checked(lines, checker, index, line_count):
            only = texts[0] if index + len(texts) == 1 else b""
            yield texts
        index += len(texts)
        line_count += len(lines)
    if is_whole and only.startswith(_ARRAY) and (count := len(json_values.decode(only))) > 1:
        message = f"the only line is an array of {count} values; {_AS_JSON}"
        refuse("invalid_item", ITEMS, message)


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
        try:
            checker.check(texts, index, place)
        except InvalidJob as error:
            raise _with_hint(error, texts[0]) if not index else error from None
    return texts


def _with_hint(error: InvalidJob, first: bytes) -> InvalidJob:
    """The error; where it is of the first line, and that is no whole item, with what to do."""
    fault, *others = error.errors
    if others or fault.pointer != item(0):
        return error
    if first.startswith(_ARRAY):
        message = f"{fault.message}; the line begins an array: {_AS_JSON}"
    elif first == b"{":
        message = f"{fault.message}; in NDJSON each line is one whole item"
    else:
        return error
    return InvalidJob(error.code, [Fault(fault.pointer, message)])
