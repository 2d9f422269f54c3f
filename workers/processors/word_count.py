"""Counts words: the example every map-reduce has."""

import re
from collections import Counter
from typing import Annotated

from pydantic import Field

from fanfold.processing import example

# Letters and digits of any script, with apostrophes and hyphens inside a word.
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


@example(
    {
        "items": ["to be or not to be", "that is the question"],
        "chunk_size": 1,
        "reducer": "merge_counts",
    }
)
def word_count(chunk: list[str], *, min_length: Annotated[int, Field(ge=1)] = 1) -> dict[str, int]:
    """Count the words of the chunk's texts, in lower case, of at least `min_length` letters."""
    return dict(
        Counter(
            word
            for text in chunk
            for word in _WORD.findall(text.lower())
            if len(word) >= min_length
        )
    )
