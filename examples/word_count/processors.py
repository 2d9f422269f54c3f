"""The map step and the reduce step."""

import re
from collections import Counter
from typing import Any

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def count_words(chunk: list[str]) -> dict[str, int]:
    """Map: how often each word is in the paragraphs of the chunk."""
    return Counter(word for paragraph in chunk for word in WORD.findall(paragraph.lower()))


class MostFrequent:
    """Reduce: adds the counts up, and gives the most frequent words with the totals."""

    name = "most_frequent"

    def __init__(self) -> None:
        """Start with no words."""
        self._counts: Counter[str] = Counter()

    def add(self, index: int, result: dict[str, int]) -> None:  # noqa: ARG002 - any order will do
        """Take the counts of a chunk."""
        self._counts.update(result)

    def result(self) -> dict[str, Any]:
        """The totals, and the ten most frequent; of equally frequent ones the first in ABC."""
        ranked = sorted(self._counts.items(), key=lambda counted: (-counted[1], counted[0]))
        return {
            "words": self._counts.total(),
            "different": len(ranked),
            "most_frequent": ranked[:10],
        }
