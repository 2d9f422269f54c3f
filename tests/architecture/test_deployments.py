"""Each deployment runs on what its image holds: its own packages and its locked requirements."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = {
    f"fanfold.{name}"
    for name in (
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
}
SHARED = ("fanfold.answers", "fanfold.contract", "fanfold.intake", "fanfold.ledger")
TOP_LEVEL = {"benchmarks", "fanfold", "tests"}
# Alembic runs these, on a connection; nothing imports them.
NOT_IMPORTED = "fanfold.ledger.migrations"

# Imports the modules, and all modules below the packages, where some names cannot be
# imported; prints the module names that were loaded.
IMPORTER = """
import importlib, json, pkgutil, sys
from importlib.abc import MetaPathFinder

given = json.load(sys.stdin)

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if {name.partition(".")[0], ".".join(name.split(".")[:2])} & set(given["refused"]):
            raise ModuleNotFoundError(f"{name} is not in this deployment", name=name)

sys.meta_path.insert(0, Refuse())
for name in given["modules"]:
    importlib.import_module(name)
for package in given["packages"]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.startswith(given["not_imported"]):
            importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def loaded(
    *modules: str, refused: set[str], packages: tuple[str, ...] = ()
) -> tuple[set[str], str]:
    """The modules a fresh interpreter then has, and what it complained about."""
    given = {
        "modules": modules,
        "packages": packages,
        "refused": sorted(refused),
        "not_imported": NOT_IMPORTED,
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    return set(json.loads(done.stdout)) if done.returncode == 0 else set(), done.stderr


def absent_from(requirements: str) -> set[str]:
    """Top-level names that are installed here, but would not be by this lock file."""
    locked = {
        normalized(line.partition("==")[0])
        for line in (ROOT / "requirements" / requirements).read_text().splitlines()
        if "==" in line
    }
    return {
        name
        for name, distributions in packages_distributions().items()
        if name not in TOP_LEVEL and not locked & {normalized(one) for one in distributions}
    }


def normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


@pytest.mark.parametrize(
    ("main", "own", "requirements", "foreign"),
    [
        (
            "fanfold.app.main",
            (*SHARED, "fanfold.app"),
            "gateway.txt",
            {"fanfold.workers", "fanfold.client", "fanfold.cli", "fanfold.devstack"},
        ),
        (
            "fanfold.workers.main",
            (*SHARED, "fanfold.workers"),
            "worker.txt",
            {"fanfold.app", "fastapi", "starlette", "uvicorn"},
        ),
    ],
)
def test_a_deployment_imports_nothing_that_its_image_does_not_hold(
    main: str, own: tuple[str, ...], requirements: str, foreign: set[str]
) -> None:
    refused = OWN - set(own) | absent_from(requirements)
    assert foreign <= refused
    modules, complaint = loaded(main, packages=own, refused=refused)
    assert main in modules, complaint


def test_the_client_runs_without_the_server_s_code_and_libraries() -> None:
    own = {*SHARED, "fanfold.app", "fanfold.workers"}
    refused = own | {"temporalio", "fastapi", "psycopg"}
    modules, complaint = loaded(
        "fanfold.client.http", packages=("fanfold.client",), refused=refused
    )
    assert "fanfold.client.http" in modules, complaint
    assert "httpx" in modules


@pytest.mark.parametrize(
    ("main", "needed"),
    [
        ("fanfold.app.main", "fastapi"),
        ("fanfold.workers.main", "temporalio"),
        ("fanfold.client.http", "httpx"),
    ],
)
def test_a_refused_module_is_truly_out_of_reach(main: str, needed: str) -> None:
    modules, complaint = loaded(main, refused={needed})
    assert not modules
    assert f"{needed} is not in this deployment" in complaint.replace(f"{needed}.", needed)


def test_the_lock_files_tell_the_two_deployments_apart() -> None:
    assert {"fastapi", "uvicorn", "starlette", "python_multipart"} <= absent_from("worker.txt")
    assert not {"fastapi", "uvicorn", "temporalio", "psycopg"} & absent_from("gateway.txt")
    assert not {"temporalio", "psycopg", "alembic"} & absent_from("worker.txt")
    assert {"pytest", "typer", "rich"} <= absent_from("gateway.txt") & absent_from("worker.txt")
