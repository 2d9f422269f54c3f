"""The pages under docs/ say what the code does: nothing is missing, nothing is made up.

What fails here names the page or the name; write there what the code does now.
"""

import ast
import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from fanfold.app.http.errors import CODES, InvalidJob, Problem
from fanfold.cli.exits import Exit
from fanfold.cli.main import app as command_line
from fanfold.contract.failures import FailureType
from fanfold.contract.settings import GatewaySettings, LedgerSettings, StackSettings, WorkerSettings
from fanfold.contract.states import ChunkState, JobState

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOW_TO = DOCS / "howto" / "write-a-processor.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

# In the order in which docs/settings.md names the commands.
READERS: dict[str, type[LedgerSettings]] = {
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
    "up": StackSettings,
    "migrate": LedgerSettings,
}
# Read by the tests alone, and told in CONTRIBUTING.md.
OF_THE_TESTS = {"FANFOLD_TESTS_FORBID_SKIPS"}


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = (DOCS / page).read_text().partition(f"\n{heading}\n")
    assert found, f"docs/{page} has no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The rows of every table in a text, cell by cell, without backticks around a cell."""
    found: list[list[str]] = []
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("| ")):
        if is_table:
            found += [_cells(line) for line in list(lines)[2:]]
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def code_in(text: str) -> Iterator[str]:
    """The blocks and spans of code in a page."""
    yield from re.findall(r"^```[^\n]*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", without_code(text))


def shown_default(name: str, field: FieldInfo) -> str:
    if name == "workers":
        return "one a core"
    if field.default is None:
        return "none"
    if field.default in {"", ()}:
        return "empty"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def test_every_setting_is_documented_with_its_default_and_who_reads_it() -> None:
    expected: dict[str, list[str]] = {}
    for reader, kind in READERS.items():
        for name, field in kind.model_fields.items():
            row = expected.setdefault(f"FANFOLD_{name.upper()}", [shown_default(name, field), ""])
            row[1] += f", {reader}" if row[1] else reader

    documented = {row[0]: row[1:3] for row in rows(section("settings.md", "## Fanfold's own"))}

    assert documented == expected


def test_every_error_code_is_documented_with_its_status_and_title() -> None:
    expected = {code: (str(statuses()[code]), title) for code, title in CODES.items()}

    documented = {row[0]: (row[1], row[2]) for row in rows(section("errors.md", "## Problems"))}

    assert documented == expected


def statuses() -> dict[str, int]:
    """The status of each code, from the places in the gateway that answer with it."""
    by_name = {kind.__name__: kind.status for kind in Problem.__subclasses__()}
    found: dict[str, int] = {}
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "intake").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            first = node.args[0]
            if not isinstance(first, ast.Constant) or first.value not in CODES:
                continue
            callee = ast.unparse(node.func).rpartition(".")[2]
            # intake/ refuses by functions of its own.
            refuses = callee.lstrip("_").startswith("refuse")
            status = InvalidJob.status if refuses else by_name[callee]
            assert found.setdefault(str(first.value), status) == status
    return found


def test_every_failure_type_is_documented_with_its_meaning() -> None:
    expected = dict(docstrings_of_members(ROOT / "contract" / "failures.py", "FailureType"))
    assert set(expected) == set(FailureType)

    documented = {row[0]: row[2] for row in rows(section("errors.md", "## Failures"))}

    assert documented == expected


def docstrings_of_members(path: Path, class_name: str) -> Iterator[tuple[str, str]]:
    """Each member's value with the string that follows it in the source."""
    (body,) = (
        node.body
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
    )
    for member, docstring in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(docstring, ast.Expr):
            yield ast.literal_eval(member.value), ast.literal_eval(docstring.value)


def test_every_command_is_documented_with_its_arguments_and_options() -> None:
    expected: dict[str, set[str]] = {}
    for name, command in commands_in(get_command(command_line), "fanfold"):
        arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
        heading = f"### `{' '.join([name, *arguments])}`"
        expected[heading] = {
            option
            for parameter in command.params
            if parameter.param_type_name == "option"
            for option in [*parameter.opts, *parameter.secondary_opts]
        }

    page = (DOCS / "cli.md").read_text()
    headings = re.findall(r"^### .*$", page, flags=re.MULTILINE)
    documented = {
        heading: {
            option
            for row in rows(section("cli.md", heading))
            for option in re.findall(r"--[a-z-]+", row[0])
        }
        for heading in headings
    }

    assert documented == expected


def commands_in(command: object, name: str) -> Iterator[tuple[str, TyperCommand]]:
    """Each command with its whole name; those of a group one by one."""
    if isinstance(command, TyperGroup):
        for part, below in command.commands.items():
            yield from commands_in(below, f"{name} {part}")
        return
    assert isinstance(command, TyperCommand)
    yield name, command


def test_every_exit_code_is_documented() -> None:
    documented = [(row[0], row[1]) for row in rows(section("cli.md", "## Exit codes"))]

    assert documented == [(str(int(code)), code.name) for code in Exit]


@pytest.mark.parametrize(("heading", "states"), [("## Jobs", JobState), ("## Chunks", ChunkState)])
def test_every_state_is_documented_and_drawn(
    heading: str, states: type[JobState] | type[ChunkState]
) -> None:
    text = section("job-states.md", heading)
    drawn = {*re.findall(r"(\w+) -->", text), *re.findall(r"--> (\w+)", text)}

    documented = {row[0]: row[1] for row in rows(text)}

    assert documented == {state: "yes" if state.is_terminal else "no" for state in states}
    assert drawn == set(states)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))

    broken = [link for link in links if "://" not in link and not leads_somewhere(page, link)]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    place, _, anchor = link.partition("#")
    target = (page.parent / place) if place else page
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE) if anchor else []
    return not anchor or anchor in {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
    }


def test_every_make_target_named_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    named = {
        target
        for page in PAGES
        for code in code_in(page.read_text())
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)", code)
    }

    assert named <= targets
    assert {"demo", "test", "up"} <= named


def test_every_setting_named_on_a_page_exists() -> None:
    known = {f"FANFOLD_{name.upper()}" for kind in READERS.values() for name in kind.model_fields}
    of_the_command_line = "".join(path.read_text() for path in (ROOT / "cli").glob("*.py"))
    known |= set(re.findall(r"FANFOLD_\w+", of_the_command_line)) | OF_THE_TESTS

    named = {
        name for page in PAGES for name in re.findall(r"FANFOLD_[A-Z_]*[A-Z]", page.read_text())
    }

    assert named <= known


def test_every_file_named_on_a_page_exists() -> None:
    named = {
        path
        for page in PAGES
        if page != HOW_TO  # whose files are the reader's
        for code in code_in(page.read_text())
        for path in re.findall(r"^(?:\w+/)+[\w.-]+\.(?:py|md|sh|txt|yaml)$", code)
    }

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    assert len(named) > 20  # as long as the pattern finds them


def test_every_decision_has_its_number_and_three_parts() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))

    assert pages
    for number, page in enumerate(pages, start=1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number:04d}: ")
        assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]
