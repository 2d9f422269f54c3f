"""Fanfold as users install it: the wheel in an environment that holds what it asks for, no more."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "answers",
    "app",
    "cli",
    "client",
    "contract",
    "devstack",
    "intake",
    "ledger",
    "workers",
)

_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def build_wheel(directory: Path) -> Path:
    """The wheel of this checkout, made without a network and without a trace in the checkout."""
    source = directory / "source"
    for folder in ("fanfold", *FOLDERS):
        shutil.copytree(
            ROOT / folder,
            source / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(directory)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel


def install(wheel: Path, directory: Path, *extras: str) -> Path:
    """A fresh environment with the wheel and what it needs with these extras; its Python.

    What is needed is found in the environment of the tests, and linked: nothing is downloaded.
    """
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(directory)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (metadata,) = packages.glob("*.dist-info")
    for needed in _needed(PathDistribution(metadata), set(extras)):
        for place in _top_level(needed):
            link = packages / place.name
            if not link.exists():
                link.symlink_to(place)
    return python


def _needed(root: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """What the distribution needs, directly and not, each once for each extra."""
    to_do: list[tuple[Distribution, str]] = [(root, extra) for extra in ("", *sorted(extras))]
    seen = {(_name(root), extra) for _, extra in to_do}
    while to_do:
        dependent, extra = to_do.pop()
        for line in dependent.requires or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            is_own = canonicalize_name(requirement.name) == _name(root)
            needed = root if is_own else distribution(requirement.name)
            for wanted in ("", *sorted(requirement.extras)):
                if (_name(needed), wanted) not in seen:
                    seen.add((_name(needed), wanted))
                    to_do.append((needed, wanted))
                    if not is_own:
                        yield needed


def _name(found: Distribution) -> str:
    return canonicalize_name(found.metadata["Name"])


def _top_level(found: Distribution) -> set[Path]:
    """Its packages, modules and metadata."""
    places = {file.parts[0] for file in found.files or () if not file.parts[0].startswith("..")}
    return {
        Path(str(found.locate_file(place)))
        for place in places
        if not re.fullmatch(r"__pycache__|.*\.pth", place)
    }
