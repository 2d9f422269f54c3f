"""Wiring only: the code of both releases, and a place where they run side by side."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.upgrade.releases import Release, release_before, this_release
from tests.upgrade.side_by_side import SideBySide


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release before."""
    release = release_before(tmp_path_factory.mktemp("release-before"))
    release.check()
    return release


@pytest.fixture(scope="session")
def new() -> Release:
    """This release."""
    release = this_release()
    release.check()
    return release


@pytest.fixture
def both(tmp_path: Path) -> Iterator[SideBySide]:
    """A ledger and a Temporal server of the test's own."""
    with ExitStack() as stopping:
        yield SideBySide(tmp_path, stopping)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The directory of the `gated` processor, opened at the end so that nothing waits on."""
    directory = tmp_path / "gate"
    directory.mkdir()
    yield directory
    (directory / "open").touch()
