"""The text: the topics of Python's own manual, which come with every Python."""

from collections.abc import Iterator
from pydoc_data.topics import topics


def paragraphs() -> Iterator[str]:
    """The paragraphs of all topics, some thousands."""
    for text in topics.values():
        yield from filter(None, map(str.strip, text.split("\n\n")))
