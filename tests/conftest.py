"""Rules for every test: what a skip means, and integers of any size."""

import os
from collections.abc import Iterator

import pytest

from contract.json_values import allow_long_integers

allow_long_integers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI a skipped test is a failed one: everything it needs can be installed there."""
    report = yield
    if os.environ.get("FANFOLD_TESTS_FORBID_SKIPS") and report.skipped:  # type: ignore[attr-defined]
        report.outcome = "failed"  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
