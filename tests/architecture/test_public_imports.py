"""What users are shown imports what they may rely on: `fanfold`, and `fanfold.testing` in tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
PUBLIC = {"fanfold", "fanfold.testing"}
OWN = {path.name for path in (ROOT / "fanfold").iterdir() if path.is_symlink()}

PYTHON = re.compile(r"^ *```python.*?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(r"^\s*(?:from|import)\s+([\w.]+)", re.MULTILINE)


def own_imports(text: str) -> set[str]:
    """The modules of Fanfold's that a page's code imports, by either of their names."""
    return set().union(*map(own_imports_of, PYTHON.findall(text)))


def own_imports_of(code: str) -> set[str]:
    return {name for name in IMPORT.findall(code) if name.partition(".")[0] in OWN | {"fanfold"}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_nothing_else_than_users_may(page: Path) -> None:
    assert own_imports(page.read_text()) <= PUBLIC


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_imports_nothing_else_than_users_may(module: Path) -> None:
    assert own_imports_of(module.read_text()) <= PUBLIC


def test_some_example_imports_something() -> None:
    assert set().union(*(own_imports_of(path.read_text()) for path in EXAMPLES)) == {"fanfold"}


@pytest.mark.parametrize(
    "line", ["from fanfold.workers.processor import Processor", "import client.http"]
)
def test_another_import_would_be_found(line: str) -> None:
    assert own_imports(f"```python tests/x.py\n{line}\n```\n") - PUBLIC
    assert own_imports(f"1. Do:\n\n   ```python\n   {line}\n   ```\n") - PUBLIC


def test_some_page_imports_something() -> None:
    assert set().union(*(own_imports(page.read_text()) for page in PAGES)) == PUBLIC
