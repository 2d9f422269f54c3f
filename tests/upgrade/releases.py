"""The code of the two releases that run side by side."""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Moved forward at each release, to the commit of the one that was just made.
RELEASE_BEFORE = "5330517ae199e654685b5df2945d155588d97a91"


@dataclass(frozen=True)
class Release:
    """A tree of the repository, whose processes are started with its own code."""

    name: str
    tree: Path
    package: str
    """What the names of its modules begin with."""

    def environment(self) -> dict[str, str]:
        """What makes a process import this tree's code, whatever is installed."""
        return {"PYTHONPATH": str(self.tree)}

    def check(self) -> None:
        """Fails unless it is this tree's code that a process of the release imports."""
        own = ("app", "contract", "ledger", "workers")
        packages = (*(f"{self.package}{name}" for name in own), "tests.e2e")
        printing = f"import {', '.join(packages)}; print({'.__file__, '.join(packages)}.__file__)"
        imported = subprocess.run(
            [sys.executable, "-c", printing],
            cwd=self.tree,
            env=os.environ | self.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for file in imported:
            assert Path(file).is_relative_to(self.tree), f"{self.name} runs the code of {file}"


def this_release() -> Release:
    return Release("new", ROOT, package="fanfold.")


def release_before(directory: Path) -> Release:
    """The release before, taken from the repository's history into the directory."""
    archive = directory / "release.tar"
    packed = subprocess.run(
        ["git", "archive", "--output", str(archive), RELEASE_BEFORE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert packed.returncode == 0, (
        f"the release before, commit {RELEASE_BEFORE}, is not in this clone's history "
        f"({packed.stderr.strip()}); get all of it with: git fetch --unshallow"
    )
    tree = directory / "release"
    with tarfile.open(archive) as opened:
        opened.extractall(tree, filter="data")
    return Release("old", tree, package="")
