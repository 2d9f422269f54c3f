"""Loading processors by name: each way it can fail has words of its own."""

import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from fanfold.ledger.catalog import Kind
from fanfold.workers.registry import CannotLoad, Registry

PLUGIN = '''
from typing import Any

from fanfold.processing import example


def shout(item: str, *, marks: int = 1) -> str:
    """Say it louder."""
    return item.upper() + "!" * marks


class Longest:
    """Keep the longest result."""

    def __init__(self) -> None:
        self.found: Any = None

    def add(self, index: int, result: Any) -> None:
        if self.found is None or len(result) > len(self.found):
            self.found = result

    def result(self) -> Any:
        return self.found


@example({"items": ["a"], "processor": "shout"})
class Named(Longest):
    name = "by_name"


class NamedByProperty(Longest):
    @property
    def name(self): return "late"


class HalfAReducer:
    def add(self, index: int, result: Any) -> None: ...


def positional(item, marks): ...


def double(item): ...


async def later(chunk): ...


number = 5
lambdas = lambda item: item
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's directory, with a package in it, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.startswith("theirs")]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "code.py").write_text(PLUGIN)
    (package / "broken.py").write_text("def f(item):\n    return item +\n")
    (package / "raising.py").write_text("raise ValueError('no database here')\n")
    (package / "needy.py").write_text("import not_installed_anywhere.deep\n")
    (package / "inner_needy.py").write_text("from theirs import absent_sibling\n")
    (package / "leaving.py").write_text("import sys\nsys.exit('no licence')\n")
    yield package
    for name in [name for name in sys.modules if name.startswith("theirs")]:
        del sys.modules[name]


def test_the_built_in_ones_are_always_there() -> None:
    registry = Registry()
    assert sorted(registry.processors) == [
        *("count_by", "double", "transform", "validate", "word_count"),
    ]
    assert sorted(registry.reducers) == ["collect", "merge", "merge_counts", "sum"]
    entries = chain(*registry.entries().values())
    assert all(entry.description and entry.options_schema["type"] == "object" for entry in entries)


@pytest.mark.usefixtures("plugin")
def test_the_users_own_are_found_in_the_directory_they_start_from() -> None:
    registry = Registry(["theirs.code:shout", "theirs.code:later", "theirs.code:Longest"])
    assert registry.processors["shout"].function("a", marks=2) == "A!!"
    assert registry.processors["later"].is_async
    assert registry.reducers["Longest"].new().result() is None
    (entry,) = [entry for entry in registry.entries()[Kind.PROCESSOR] if entry.name == "shout"]
    assert entry.description == "Say it louder."
    assert entry.options_schema["properties"]["marks"]["type"] == "integer"


@pytest.mark.usefixtures("plugin")
def test_a_reducer_may_bring_its_name_and_an_example() -> None:
    registry = Registry(["theirs.code:Named"])
    (entry,) = [entry for entry in registry.entries()[Kind.REDUCER] if entry.name == "by_name"]
    assert entry.example == {"reducer": "by_name", "items": ["a"], "processor": "shout"}


@pytest.mark.usefixtures("plugin")
def test_code_without_an_example_gets_the_plainest() -> None:
    registry = Registry(["theirs.code:shout", "theirs.code:Longest"])
    examples = [entry.example for entries in registry.entries().values() for entry in entries]
    assert {"processor": "shout", "items": [1, 2, 3]} in examples
    assert {"reducer": "Longest", "items": [1], "processor": "double"} in examples


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("theirs.code", "'theirs.code' is not of the form package.module:name"),
        ("theirs.code:", "'theirs.code:' is not of the form package.module:name"),
        (":shout", "':shout' is not of the form package.module:name"),
        ("", "'' is not of the form package.module:name"),
        ("absent:f", "absent:f: there is no module 'absent' (looked in "),
        ("theirs.absent:f", "theirs.absent:f: there is no module 'theirs.absent' (looked in "),
        ("theirs.code.deep:f", "theirs.code.deep:f: there is no module 'theirs.code.deep'"),
        (
            "theirs.needy:f",
            "'theirs.needy' needs the module 'not_installed_anywhere', which is not installed",
        ),
        ("theirs.inner_needy:f", "importing 'theirs.inner_needy' failed: ImportError: cannot"),
        ("theirs.broken:f", "importing 'theirs.broken' failed: SyntaxError: invalid syntax"),
        (
            "theirs.raising:f",
            "theirs.raising:f: importing 'theirs.raising' failed: ValueError: no database here",
        ),
        (
            "theirs.leaving:f",
            "importing 'theirs.leaving' failed: SystemExit: no licence",
        ),
        ("theirs.code:absent", "theirs.code:absent: 'theirs.code' has no 'absent'"),
        ("theirs.code:number", "theirs.code:number: it is neither a function"),
        ("theirs.code:HalfAReducer", "theirs.code:HalfAReducer: it is neither a function"),
        ("theirs.code:NamedByProperty", "NamedByProperty: 'name' must be a string"),
        ("theirs.code:positional", "positional: parameter 'marks' must be keyword-only"),
        ("theirs.code:double", "theirs.code:double: the name 'double' is taken already"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line_with_the_reason(
    reference: str, reason: str
) -> None:
    with pytest.raises(CannotLoad) as refused:
        Registry([reference])
    message = str(refused.value)
    assert message.startswith("FANFOLD_PROCESSORS: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.usefixtures("plugin")
def test_naming_one_twice_is_told() -> None:
    with pytest.raises(CannotLoad, match="the name 'shout' is taken already"):
        Registry(["theirs.code:shout", "theirs.code:shout"])


@pytest.mark.usefixtures("plugin")
def test_every_published_entry_is_json() -> None:
    registry = Registry(["theirs.code:shout", "theirs.code:Longest"])
    for entry in chain(*registry.entries().values()):
        assert json.loads(json.dumps(entry.example)) == entry.example
        assert json.loads(json.dumps(entry.options_schema)) == entry.options_schema
