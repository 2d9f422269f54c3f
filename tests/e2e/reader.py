"""The reader of a page, who pastes its commands one after the other."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.pages import Page

ROOT = Path(__file__).parents[2]
URL = "http://localhost:8000"
"""Where pages have the stack."""

# What a command of a page never says, unless something is wrong.
_MISTAKES = ("urn:fanfold:problem", "fanfold: ", "Traceback", "command not found")


def curl() -> str:
    """Where curl is; skips the test where it is not."""
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is not installed")
    return found


@dataclass(frozen=True)
class Reader:
    """Has the page's files in a directory, and a stack."""

    page: Page
    stack: RunningStack
    directory: Path

    def __post_init__(self) -> None:
        curl()
        self.page.write_to(self.directory)
        for place in self.page.files:
            file = self.directory / place
            file.write_text(file.read_text().replace(URL, self.stack.url))

    def paste(self, block: str) -> str:
        """What the block prints; `$id` and `$url` stay for those after it."""
        script = f"[ -e .shell ] && . ./.shell\n{block}\ndeclare -p id url > .shell 2>&-\n"
        return subprocess.run(
            ["bash", "-c", script.replace(URL, self.stack.url)],
            cwd=self.directory,
            env=os.environ
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "FANFOLD_URL": self.stack.url,
                "TEMPORAL_ADDRESS": self.stack.temporal_address,
                "COLUMNS": "200",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    def follow(self, name: str) -> None:
        """Paste the block of this name; it prints the lines that the page says, in their order."""
        printed = self.paste(self.page.scripts[name])
        assert not [words for words in _MISTAKES if words in printed], f"{name}: {printed}"
        lines = iter(printed.splitlines())
        for expected in self.page.outputs.get(name, "").splitlines():
            # Between them may be others.
            assert any(expected in line for line in lines), f"{name}: {expected!r} in {printed}"
