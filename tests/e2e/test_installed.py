"""What `pip install fanfold` gives: a client that needs no server, types, and no foreign names."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fanfold
from fanfold.devstack.running import RunningStack, prepare
from tests.e2e.installation import FOLDERS, ROOT, build_wheel, install

SCRIPT = Path(__file__).parent / "users_script.py"

CALLS = """
import sys
import fanfold

with fanfold.Fanfold(sys.argv[1]) as client:
    job = client.submit({"processor": "double", "reducer": "sum"}, items=iter([1, 2, 3]))
    print(client.wait(job.id, timeout=30).result)
"""

ASKS_FOR = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error.name)
"""

# As the script runs that pip installs.
COMMAND = """
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="fanfold")
command.load()()
"""

PROCESSORS = {
    "workers/__init__.py": "",
    "workers/prices.py": '''
from app.rates import RATE
from fanfold import ProcessorContext


def gross(item: float, *, context: ProcessorContext) -> float:
    """Add the tax."""
    return item * RATE
''',
    "app/__init__.py": "",
    "app/rates.py": '''
RATE = 2


class Largest:
    """The largest of all."""

    name = "largest"

    def __init__(self) -> None:
        self._largest = 0.0

    def add(self, index: int, result: list[float]) -> None:
        self._largest = max(self._largest, *result)

    def result(self) -> float:
        return self._largest
''',
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Fanfold as `pip install fanfold` makes it."""
    return install(wheel, tmp_path_factory.mktemp("client"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project, whose packages have all the names that folders of Fanfold have."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    for name, text in PROCESSORS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(python: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_every_module_as_a_plain_file(wheel: Path) -> None:
    folders = {f"fanfold/{name}": ROOT / name for name in FOLDERS}
    expected = {
        f"{place}/{path.relative_to(folder)}"
        for place, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    expected |= {f"fanfold/{path.name}" for path in (ROOT / "fanfold").glob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected | {"fanfold/py.typed"}


def test_the_client_runs_where_nothing_of_the_server_is_installed(
    python: Path, stack: RunningStack, tmp_path: Path
) -> None:
    absent = ["temporalio", "fastapi", "pydantic_settings", "psycopg", "typer", "rich", "alembic"]
    assert run(python, "-c", ASKS_FOR, *absent, "httpx", cwd=tmp_path).split() == absent
    assert run(python, "-c", CALLS, stack.url, cwd=tmp_path) == "12\n"


@pytest.mark.parametrize("arguments", [(), ("list",), ("up",), ("--version",)])
def test_the_command_line_says_what_to_install_where_the_client_alone_is(
    python: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [python, "-c", COMMAND, *arguments],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "fanfold: this needs the package typer, which the client alone does not install: "
        "pip install 'fanfold[stack]'\n"
    )


def test_a_processor_is_tested_where_nothing_of_the_server_is_installed(
    python: Path, project: Path
) -> None:
    asks = (
        "from fanfold.testing import run; from workers.prices import gross; print(run(gross, [2]))"
    )
    assert run(python, "-c", asks, cwd=project) == "[4.0]\n"


@pytest.mark.parametrize("name", fanfold.__all__)
def test_the_user_s_script_that_is_checked_uses_all_there_is(name: str) -> None:
    assert re.search(rf"\b{name}\b", SCRIPT.read_text().partition("\nURL")[2])


def test_a_user_s_script_passes_the_strictest_type_check(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.read_text())
    check = ["-m", "mypy", "--strict", "--python-executable", str(python)]
    check += ["--cache-dir", str(tmp_path / "cache"), "--config-file", os.devnull]

    assert run(Path(sys.executable), *check, str(script), cwd=tmp_path).startswith("Success")

    script.write_text("import fanfold\nprint(fanfold.Fanfold('').get('').result_of_all)\n")
    with pytest.raises(AssertionError, match=r'"Job" has no attribute "result_of_all"'):
        run(Path(sys.executable), *check, str(script), cwd=tmp_path)


def test_a_user_s_packages_may_have_the_names_of_fanfold_s_folders(
    python: Path, stack: RunningStack, project: Path
) -> None:
    assert run(python, "-c", CALLS, stack.url, cwd=project) == "12\n"
    for name in FOLDERS:
        where = run(python, "-c", f"import {name}; print({name}.__file__)", cwd=project)
        assert where == f"{project / name}/__init__.py\n"


def test_processors_in_packages_of_these_names_run(
    wheel: Path, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("stack")
    up = prepare(
        directory / "data",
        {
            "FANFOLD_PROCESSORS": "workers.prices:gross,app.rates:Largest",
            "PYTHONPATH": "",
            # For the `temporal` command, which is no part of any Python.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        directory=project,
        python=str(install(wheel, directory / "environment", "stack")),
    )
    job = '{"items": [1, 5, 3], "processor": "gross", "reducer": "largest"}'
    asks = (
        "import fanfold, sys; client = fanfold.Fanfold(sys.argv[1]);"
        "print(client.wait(client.submit(sys.argv[2]).id, timeout=30).result)"
    )
    try:
        up.start()
        assert run(Path(up.python), "-c", asks, up.url, job, cwd=project) == "10.0\n"
    finally:
        up.stop()
