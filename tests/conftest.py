"""Rules for every test: what a skip means, and integers of any size."""

import os
from collections.abc import Generator

import pytest

from fanfold.contract.json_values import allow_long_integers

allow_long_integers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: everything it needs can be installed there."""
    report = yield
    if os.environ.get("FANFOLD_TESTS_FORBID_SKIPS") and report.skipped:
        report.outcome = "failed"
    return report
