"""Wiring only: real stacks, and clients to them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from fanfold.client.http import Fanfold
from fanfold.devstack.running import RunningStack, prepare, running
from tests.e2e.processors import NAMES

SETTINGS = {"FANFOLD_PROCESSORS": NAMES, "FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.5"}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for all tests that leave it as they found it."""
    with running(tmp_path_factory.mktemp("stack"), SETTINGS) as started:
        yield started


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    """Plain HTTP to the shared stack."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        yield client


@pytest.fixture
def fanfold(stack: RunningStack) -> Iterator[Fanfold]:
    """The Python client to the shared stack."""
    with Fanfold(stack.url) as client:
        yield client


@pytest.fixture
def new_stack(tmp_path: Path) -> Iterator[Callable[..., RunningStack]]:
    """Starts a stack of the test's own; called again, one with the same data and ports."""
    with ExitStack() as stopping:
        made: list[RunningStack] = []

        def start(**settings: str) -> RunningStack:
            if not made:
                made.append(prepare(tmp_path / "data", SETTINGS))
                stopping.callback(made[0].stop)
            made[0].environment.update(settings)
            made[0].start()
            return made[0]

        yield start


@pytest.fixture(params=["workflow", "activity"])
def execution(request: pytest.FixtureRequest) -> str:
    """How chunks are run: what a client is answered may not depend on it."""
    given: str = request.param
    return given


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The directory of the `gated` processor, opened at the end so that nothing waits on."""
    directory = tmp_path / "gate"
    directory.mkdir()
    yield directory
    (directory / "open").touch()


BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that somebody else has led to this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A page of a real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(20_000)
        yield page
        browser.close()


@pytest.fixture
def chromium() -> str:
    """The path of Debian's browser.

    `make test` installs it as root on Debian. Elsewhere the browser tests alone are
    skipped, by name; in CI tests/conftest.py makes a failure of that.
    """
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    return found
