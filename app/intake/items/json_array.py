"""Items as the elements of one JSON array."""

import codecs
import json
import re
from collections.abc import Iterator

from fanfold.app.intake.items.item_check import ItemCheck
from fanfold.contract.json_syntax import explained
from fanfold.intake.faults import ITEMS, item, refuse, refuse_limit

_TEXTS_AT_ONCE = 500
_BYTES_AT_ONCE = 256 * 1024
# No token but a string is longer; a string that is cut off is known by the parser's message.
_LONGEST_TOKEN = 16

_scan = json.JSONDecoder().raw_decode
_skip_blanks = re.compile(r"[ \t\r\n]*").match


class _Window:
    """The part of the text that is being read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.text = ""
        self.at = 0
        self.is_last = False

    def grow(self) -> bool:
        """Double the text that is not read yet; False at the end.

        So an item is scanned a few times at most, however small the blocks are. Raises
        UnicodeDecodeError.
        """
        if self.is_last:
            return False
        parts = [self.text[self.at :]]
        missing = max(1, len(parts[0]))
        while missing > 0 and not self.is_last:
            block = next(self._blocks, None)
            self.is_last = block is None
            parts.append(self._decoder.decode(block or b"", final=self.is_last))
            missing -= len(parts[-1])
        self.text = "".join(parts)
        self.at = 0
        return True

    def next_character(self) -> str:
        """Move to the next character that is not blank, and give it; empty at the end."""
        while True:
            found = _skip_blanks(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""


def items(
    blocks: Iterator[bytes], checker: ItemCheck, max_item_bytes: int
) -> Iterator[list[bytes]]:
    """The elements' texts as they came."""
    index = 0
    texts: list[bytes] = []
    size = 0
    for text in elements(blocks, max_item_bytes):
        texts.append(text)
        size += len(text)
        if len(texts) == _TEXTS_AT_ONCE or size >= _BYTES_AT_ONCE:
            checker.check(texts, index)
            yield texts
            index, texts, size = index + len(texts), [], 0
    if texts:
        checker.check(texts, index)
        yield texts


def elements(blocks: Iterator[bytes], max_item_bytes: int) -> Iterator[bytes]:
    """Each element's text as it came."""
    window = _Window(blocks)
    index = 0
    try:
        if window.next_character() != "[":
            refuse(
                "invalid_item",
                ITEMS,
                "the items are not a JSON array, which begins with [; items one a line are "
                "sent as application/x-ndjson",
            )
        window.at += 1
        if window.next_character() == "]":
            window.at += 1
        else:
            while True:
                if window.next_character() == "]":
                    message = "not JSON: a comma stands before the closing bracket"
                    refuse("invalid_item", item(index), message)
                yield _element(window, index, max_item_bytes)
                index += 1
                after = window.next_character()
                window.at += 1
                if after == "]":
                    break
        if window.next_character():
            refuse("invalid_item", ITEMS, "there is text after the array's end")
    except UnicodeDecodeError:
        refuse("invalid_item", item(index), "the text here or soon after is not UTF-8")


def _element(window: _Window, index: int, max_item_bytes: int) -> bytes:
    """The element that begins here; moves the window behind it."""
    while True:
        text, start = window.text, window.at
        end, place, problem = _scanned(text, start, index)
        if not problem:
            window.at = end
            return text[start:end].encode()
        # An error at the very end may only mean that the rest is in the next block.
        if place < len(text) - _LONGEST_TOKEN:
            refuse("invalid_item", item(index), f"not JSON: {problem}")
        if len(text) - start > max_item_bytes + _LONGEST_TOKEN:
            refuse_limit(item(index), "bytes an item", max_item_bytes, "FANFOLD_MAX_ITEM_BYTES")
        if not window.grow():
            refuse("invalid_item", item(index), f"not JSON: {problem}")


def _scanned(text: str, start: int, index: int) -> tuple[int, int, str]:
    """Where the element ends; or else where the error is, and what it is."""
    try:
        _, end = _scan(text, start)
    except json.JSONDecodeError as error:
        is_open = error.msg.startswith("Unterminated string")
        return start, len(text) if is_open else error.pos, explained(error)
    except RecursionError:
        refuse("invalid_item", item(index), "nested too deeply to be read")
    except ValueError:
        refuse("invalid_item", item(index), "an integer has too many digits")
    found = _skip_blanks(text, end)
    place = found.end() if found else end
    is_followed = text[place : place + 1] in {",", "]"}
    return end, place, "" if is_followed else "a comma is missing, or the closing bracket"
