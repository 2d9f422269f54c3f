"""The pages that are run by tests, read for these.

A code block's info string says what it is: `python PATH` and `json PATH` are files, `sh` holds
commands, `sh NAME` a script, and other blocks with a place are what comes of it: `answer to PATH`,
`output of PATH`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = DOCS / "howto"
ANSWER, OUTPUT = "answer to ", "output of "

_BLOCK = re.compile(
    r"^```(?P<language>\w+) ?(?P<place>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    language: str
    place: str
    text: str


class Page:
    """A page's files, what is said to come of them, and its commands."""

    def __init__(self, name: str, folder: Path = HOW_TO) -> None:
        self.text = (folder / name).read_text()
        self.blocks = _blocks(self.text)
        self.answers, self.outputs = self._after(ANSWER), self._after(OUTPUT)
        self.files = {
            block.place: block.text
            for block in self.blocks
            if block.place
            and block.language != "sh"
            and not block.place.startswith((ANSWER, OUTPUT))
        }
        self.scripts = {
            block.place: block.text
            for block in self.blocks
            if block.language == "sh" and block.place
        }
        self.commands = [
            line
            for block in self.blocks
            if block.language == "sh"
            for line in block.text.split("\n")
        ]

    def sections(self) -> dict[str, list[Block]]:
        """The blocks below each heading of the third level."""
        _, *sections = re.split("^### ", self.text, flags=re.MULTILINE)
        return {heading: _blocks(text) for heading, _, text in map(_cut, sections)}

    def _after(self, words: str) -> dict[str, str]:
        return {
            block.place.removeprefix(words): block.text
            for block in self.blocks
            if block.place.startswith(words)
        }

    def write_to(self, directory: Path) -> None:
        """Put every file of the page where its reader has it."""
        for place, text in self.files.items():
            path = directory / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _cut(section: str) -> tuple[str, str, str]:
    return section.partition("\n")


def _blocks(text: str) -> list[Block]:
    return [Block(one["language"], one["place"], one["text"]) for one in _BLOCK.finditer(text)]
