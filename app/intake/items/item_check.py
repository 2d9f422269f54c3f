"""Checks that texts are items, by the same rules as for the items of a JSON body.

`fanfold.contract.json_values` has the rules. It parses a text and writes it again, at some 40 MB
a second. Here many texts are first parsed together by a parser that is stricter and five
times faster. What it accepts is valid by all rules; what it refuses, or could have
overlooked, is checked one by one by the rules themselves.
"""

import secrets
import string
from collections.abc import Callable, Sequence
from functools import partial

import pydantic_core

from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import item, refuse, refuse_limit
from fanfold.intake.item_schema import ItemSchema, Place

# A number overflows only with an exponent of three digits, or with more than two hundred
# digits. With every digit replaced by a zero, there are few strings to search for.
_KINDS = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE = (b"e000", b"e+000", b"0" * 200)


class ItemCheck:
    """Checks texts against the rules and the limits."""

    def __init__(self, limits: GatewaySettings, schema: ItemSchema | None = None) -> None:
        """Take the limits of an item, and the schema where it has to fit one."""
        self._schema = schema
        self._max_bytes = limits.max_item_bytes
        self._max_depth = limits.max_nesting_depth
        # A string that no client knows goes between any two texts. If the parsed array has
        # it in every second place, then each text is one value: the string is there as often
        # as it was put in, so no text closed the array, or began a value that another ended.
        self._mark = "".join(secrets.choice(string.ascii_lowercase) for _ in range(32))
        self._between = f',"{self._mark}",'.encode()

    def check(self, texts: Sequence[bytes], first: int, place: Place = lambda _: "") -> None:
        """Refuse a text that is no item, by its index; that of the first text is `first`."""
        if not self._surely_items(texts):
            for offset, text in enumerate(texts):
                self._judge(text, first + offset, partial(place, offset))
        if self._schema is not None:
            self._schema.check_texts(texts, first, place)

    def _surely_items(self, texts: Sequence[bytes]) -> bool:
        # A text of depth n has n opening and n closing brackets at least.
        depth, shortest = self._max_depth, 2 * self._max_depth
        if max(map(len, texts)) > self._max_bytes or any(
            text.count(b"[") + text.count(b"{") > depth for text in texts if len(text) > shortest
        ):
            return False
        document = b"[" + self._between.join(texts) + b"]"
        if b"\\u0000" in document:
            return False
        try:
            values = pydantic_core.from_json(document, allow_inf_nan=False, cache_strings="keys")
        except ValueError:
            return False
        marks = values[1::2]
        if len(values) != 2 * len(texts) - 1 or marks != [self._mark] * len(marks):
            return False
        kinds = document.translate(_KINDS)
        if not any(large in kinds for large in _LARGE):
            return True
        # Perhaps a number, more often part of a string: an overflow is written as Infinity.
        return b"Infinity" not in pydantic_core.to_json(values)

    def _judge(self, text: bytes, index: int, place: Callable[[], str]) -> None:
        if len(text) > self._max_bytes:
            refuse_limit(
                item(index),
                "bytes an item",
                self._max_bytes,
                "FANFOLD_MAX_ITEM_BYTES",
                line=place(),
            )
        try:
            value = json_values.decode(text)
        except json_values.InvalidJson as error:
            where = place()
            if where and error.column:
                where = f"{where.removesuffix(': ')}, column {error.column}: "
            refuse("invalid_item", item(index), f"{where}not JSON: {error.what}")
        if json_values.nests_deeper_than(value, self._max_depth):
            refuse_limit(
                item(index),
                "levels of nesting",
                self._max_depth,
                "FANFOLD_MAX_NESTING_DEPTH",
                line=place(),
            )
        try:
            json_values.encode(value)
        except json_values.UnstorableValue as error:
            refuse("invalid_value", item(index, *error.path), f"{place()}the value {error}")
