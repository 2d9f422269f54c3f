"""Settings of hypothesis for the unit tests, and the clients they run with."""

import hypothesis
import pytest

from fanfold import Fanfold
from tests.unit.either_client import Connect, blocking

# How long an example takes is decided by what else the machine does.
hypothesis.settings.register_profile("fanfold", deadline=None)
hypothesis.settings.load_profile("fanfold")

CLIENTS: list[Connect] = [Fanfold, blocking]


@pytest.fixture(params=CLIENTS, ids=["Fanfold", "AsyncFanfold"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes a client: a test that takes it is run with both."""
    given: Connect = request.param
    return given
