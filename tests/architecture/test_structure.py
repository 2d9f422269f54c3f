"""The shape of the repository: small modules, a whole API description, nothing of one machine."""

import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from fanfold.app.http.errors import CODES
from fanfold.app.http.problems import ProblemView
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.validation import validate

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
OPENAPI: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in OPENAPI["paths"].items()
    for method, operation in operations.items()
}
JOB_EXAMPLES = OPERATIONS["POST /jobs"]["requestBody"]["content"]["application/json"]["examples"]
LOCK_FILES = sorted((ROOT / "requirements").glob("*.txt"))

REGISTRY_HOST = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|yarnpkg|conda|anaconda|docker|ghcr|quay|gcr|rubygems|golang|crates)"
    r"\.(?:org|com|io|dev)\b"
)
# A directory that belongs to somebody's machine, and the one this checkout is in.
OF_A_MACHINE = re.compile(r"(?<![\w.}-])/(?:home|Users|root|work|workspace)/[\w.-]+/")
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+(?:\[[\w,-]+\])?==[\w.!+]+(?: ; [^\\@]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def committed_files() -> list[Path]:
    """What git has or would take: everything but what .gitignore names."""
    ignored = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split())]
    found: list[Path] = []
    for directory, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not is_ignored(name, ignored)]
        found += [Path(directory, name) for name in files if not is_ignored(name, ignored)]
    return found


def is_ignored(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def test_no_module_has_more_than_four_hundred_lines() -> None:
    modules = {path: len(path.read_bytes().splitlines()) for path in python_modules()}

    assert {
        path.relative_to(ROOT): lines for path, lines in modules.items() if lines > MAX_LINES
    } == {}
    assert len(modules) > 50


def python_modules() -> list[Path]:
    return [path for path in committed_files() if path.suffix == ".py"]


def test_the_api_description_is_valid_openapi_3_1() -> None:
    assert OPENAPI["openapi"].startswith("3.1.")

    faults = [error.message for error in OpenAPIV31SpecValidator(OPENAPI).iter_errors()]

    assert faults == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_is_and_how_it_can_fail(name: str) -> None:
    operation = OPERATIONS[name]

    assert all(operation.get(part) for part in ("operationId", "summary", "description"))
    failures = {status for status in operation["responses"] if status[0] in "45"}
    assert failures or name == "GET /livez"
    for status in failures:
        assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_response_shows_examples_of_its_own_status(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        if status[0] in "45":
            examples = response["content"]["application/problem+json"]["examples"]
            assert examples, f"{status} has none: see app/documentation/problems.py"
            for code, example in examples.items():
                problem = ProblemView.model_validate(example["value"])
                assert (problem.code, str(problem.status)) == (code, status)


def test_every_error_code_of_an_operation_has_an_example() -> None:
    shown = {
        code
        for operation in OPERATIONS.values()
        for status, response in operation["responses"].items()
        if status[0] in "45"
        for code in response["content"]["application/problem+json"]["examples"]
    }

    assert set(CODES) - shown == {"internal_error", "method_not_allowed", "not_found"}


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", JOB_EXAMPLES)
def test_the_examples_of_post_jobs_are_jobs(name: str) -> None:
    for job in validate(JOB_EXAMPLES[name]["value"], GatewaySettings()):
        assert job.stages or not job.is_leaf


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
def test_a_lock_file_holds_exact_versions_with_hashes_and_nothing_else(path: Path) -> None:
    lines = path.read_text().splitlines()
    requirements = [index for index, line in enumerate(lines) if REQUIREMENT.fullmatch(line)]

    assert [
        line for line in lines if not (REQUIREMENT.fullmatch(line) or HASH.fullmatch(line))
    ] == []
    assert requirements
    assert all(HASH.fullmatch(lines[index + 1]) for index in requirements)


def test_no_file_names_a_registry_or_a_place_on_somebody_s_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in committed_files()
        for pattern in (REGISTRY_HOST, OF_A_MACHINE)
        for match in pattern.finditer(path.read_text(errors="replace"))
    ]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "--index-{} https://{}.org/simple".format("url", "pypi"),
        "from files.{}.org".format("pythonhosted"),
        "in /{}/somebody/project/".format("home"),
    ],
)
def test_a_registry_or_a_place_on_a_machine_would_be_found(text: str) -> None:
    assert REGISTRY_HOST.search(text) or OF_A_MACHINE.search(text)


def test_the_gateway_names_the_one_tenant_in_one_place() -> None:
    naming = [path for path in (ROOT / "app").rglob("*.py") if "DEFAULT_TENANT" in path.read_text()]
    assert [path.name for path in naming] == ["services.py"]
    naming = [
        path
        for folder in ("ledger", "workers")
        for path in (ROOT / folder).rglob("*.py")
        if "DEFAULT_TENANT" in path.read_text()
    ]
    # Whose jobs are that come from Temporal itself.
    assert [path.relative_to(ROOT).as_posix() for path in naming] == ["workers/main.py"]
