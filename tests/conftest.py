"""Rules for every test: what a skip means, integers of any size, and Ctrl-C."""

import os
import signal
from collections.abc import Generator

import pytest

from fanfold.contract.json_values import allow_long_integers

allow_long_integers()
# A shell ignores it for what it starts in the background, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: everything it needs can be installed there."""
    report = yield
    if os.environ.get("FANFOLD_TESTS_FORBID_SKIPS") and report.skipped:
        report.outcome = "failed"
    return report
