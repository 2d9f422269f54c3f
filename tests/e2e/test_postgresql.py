"""A whole journey with PostgreSQL under the ledger: the only thing that changes is a URL."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, children, finish, results, run, submit
from tests.e2e.test_seeds import LAB_5
from tests.postgresql import start_server
from tests.waiting import eventually


@pytest.fixture
def ledger_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fanfold-postgresql-") as directory:
        server = start_server(Path(directory))
        yield server.get_uri()
        server.cleanup()


def test_submit_poll_fail_cancel_and_stream_on_postgresql(
    ledger_url: str, new_stack: Callable[..., RunningStack], gate: Path
) -> None:
    stack = new_stack(FANFOLD_LEDGER_URL=ledger_url)
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        lab = run(api, **LAB_5)
        assert (lab["state"], lab["success_rate"]) == ("partially_succeeded", 0.6)
        assert [child["state"] for child in children(api, lab["id"], limit="2")] == [
            "succeeded", "failed", "succeeded", "failed", "succeeded",
        ]  # fmt: skip

        for execution in ("workflow", "activity"):
            many = run(
                api,
                items=list(range(300)),
                chunk_size=1,
                processor="double",
                options={"fail_attempts": 1},
                retry={"max_attempts": 2, "initial_interval_seconds": 0.05},
                reducer="sum",
                execution=execution,
            )
            assert many["result"] == sum(2 * value for value in range(300))

        values = [None, 2**70, "ä𝄞", {"": [1.5, True]}, "\\u0000"]
        same = run(api, items=values, chunk_size=2, processor="transform", reducer="merge")
        assert same["result"] == values

        key = {"Idempotency-Key": "once"}
        ids = {api.post("/jobs", json=LAB_5, headers=key).json()["id"] for _ in range(3)}
        assert len(ids) == 1

        held = submit(
            api,
            chunks=[[value] for value in range(10)],
            processor="gated",
            options={"directory": str(gate)},
            max_concurrency=3,
        )["id"]
        eventually(lambda: len(begun(gate)) == 3, what="chunks are running")
        assert api.delete(f"/jobs/{held}").json()["state"] == "cancelling"
        assert finish(api, held)["state"] == "cancelled"
        assert len(results(api, held)) == 10

        stack.stop()
        (gate / "open").touch()
    stack = new_stack()
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        assert api.get(f"/jobs/{lab['id']}").json() == lab
