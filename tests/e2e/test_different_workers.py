"""Workers that do not have what others have: other processors, or another ledger."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from fanfold.contract.names import chunk_task_queue, job_task_queue
from tests.e2e.faults import EXECUTIONS
from tests.e2e.gateway_alone import gateway_alone
from tests.e2e.journeys import begun, children, finish, get, submit
from tests.e2e.processors import NAMES
from tests.e2e.workers_alone import Worker, temporal_alone, worker_alone
from tests.waiting import eventually

VALUES = list(range(6))
DOUBLED = [2 * value for value in VALUES]


@dataclass(frozen=True)
class Deployment:
    """A gateway and a Temporal; the tests start the workers."""

    api: httpx.Client
    temporal_address: str
    directory: Path

    @property
    def ledger(self) -> Path:
        return self.directory / "data" / "ledger.db"

    @contextmanager
    def worker(self, name: str, processors: str = "") -> Iterator[Worker]:
        """A worker on the gateway's ledger."""
        url = f"sqlite:///{self.ledger}"
        with worker_alone(
            self.directory / name,
            self.temporal_address,
            FANFOLD_LEDGER_URL=url,
            FANFOLD_PROCESSORS=processors,
        ) as worker:
            yield worker

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a query gives; what a statement changes is committed."""
        return rows(self.ledger, sql, *parameters)

    def processors(self) -> set[str]:
        answer = self.api.get("/processors").json()
        return {entry["name"] for entry in answer["processors"]}

    def let_time_pass(self, duration: timedelta, which: str = "1 = 1") -> None:
        """So long ago was what is in the catalog published."""
        milliseconds = duration // timedelta(milliseconds=1)
        self.rows(
            f"UPDATE catalog SET published_at = published_at - ? WHERE {which}",
            milliseconds,
        )


def rows(ledger: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        return connection.execute(sql, parameters).fetchall()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    settings = {"FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.5"}
    with (
        temporal_alone(tmp_path) as address,
        gateway_alone(tmp_path, TEMPORAL_ADDRESS=address, **settings) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as api,
    ):
        yield Deployment(api, address, tmp_path)


def gated_job(gate: Path, execution: str = "auto") -> dict[str, Any]:
    return {
        "chunks": [[value] for value in VALUES],
        "processor": "gated",
        "options": {"directory": str(gate)},
        "execution": execution,
        "reducer": "merge",
    }


def test_a_processor_that_left_with_its_workers_is_refused_until_one_is_back(
    deployment: Deployment, gate: Path
) -> None:
    (gate / "open").touch()
    with deployment.worker("others"):
        with deployment.worker("steered", NAMES):
            assert "gated" in deployment.processors()
        deployment.let_time_pass(timedelta(minutes=12), "name = 'gated'")

        assert "gated" not in deployment.processors()
        assert "double" in deployment.processors()
        refused = deployment.api.post("/jobs", json=gated_job(gate))
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_processor")
        assert refused.json()["detail"] == (
            "/processor: no worker has had this processor for 12 minutes; start one that has it"
        )
        assert deployment.api.get("/jobs").json()["jobs"] == []

    # Those that are left may not have it: the one that has it is to take the job.
    with deployment.worker("steered", NAMES):
        job = submit(deployment.api, **gated_job(gate))
        assert finish(deployment.api, job["id"])["result"] == DOUBLED


def test_while_all_workers_are_away_jobs_are_taken_and_wait(
    deployment: Deployment, gate: Path
) -> None:
    (gate / "open").touch()
    with deployment.worker("steered", NAMES):
        pass
    deployment.let_time_pass(timedelta(days=2))

    assert {"gated", "double"} <= deployment.processors()
    job = submit(deployment.api, **gated_job(gate))
    unknown = deployment.api.post("/jobs", json={"items": [1], "processor": "nobodys"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_processor")
    assert get(deployment.api, job["id"])["state"] == "pending"

    with deployment.worker("steered", NAMES):
        assert finish(deployment.api, job["id"])["result"] == DOUBLED


def readiness(api: httpx.Client) -> tuple[int, str]:
    answer = api.get("/readyz")
    return answer.status_code, answer.json().get("detail", "")


async def takers(address: str, workflow_id: str) -> set[int]:
    """The processes that were handed tasks of the workflow itself, or its activities."""
    temporal = await Client.connect(address)
    history = await temporal.get_workflow_handle(workflow_id).fetch_history()
    identities = [
        event.workflow_task_started_event_attributes.identity
        or event.activity_task_started_event_attributes.identity
        for event in history.events
    ]
    # The SDK calls itself pid@host.
    return {int(identity.partition("@")[0]) for identity in identities if identity}


def test_a_worker_on_another_ledger_takes_none_of_the_jobs(
    deployment: Deployment, gate: Path, tmp_path: Path
) -> None:
    """As one that was started without FANFOLD_LEDGER_URL: it has a file of its own."""
    api, elsewhere = deployment.api, tmp_path / "elsewhere"
    ((ledger_id,),) = deployment.rows("SELECT id FROM ledger_identity")
    nobody_polls = (
        f"No worker polls the task queue {job_task_queue(ledger_id)} "
        f"or {chunk_task_queue(ledger_id)}."
    )
    (gate / "open").touch()
    with worker_alone(elsewhere, deployment.temporal_address, FANFOLD_PROCESSORS=NAMES) as stranger:
        jobs = [submit(api, **gated_job(gate, execution))["id"] for execution in EXECUTIONS]
        # Handed to Temporal: from here on any worker that polls their queue would get them.
        eventually(
            lambda: not deployment.rows("SELECT 1 FROM jobs WHERE workflow_started_at IS NULL"),
            what="both workflows are started",
        )
        assert readiness(api) == (503, nobody_polls)
        assert [get(api, job)["state"] for job in jobs] == ["pending", "pending"]

        with deployment.worker("right", NAMES) as right:
            jobs += [submit(api, **gated_job(gate, execution))["id"] for execution in EXECUTIONS]
            for job in jobs:
                assert finish(api, job)["result"] == DOUBLED
                assert [child["attempts"] for child in children(api, job)] == [1] * len(VALUES)
                assert asyncio.run(takers(deployment.temporal_address, job)) == {right.pid}
            assert {(gate / name).read_text() for name in begun(gate)} == {str(right.pid)}
            eventually(lambda: readiness(api) == (200, ""), what="the gateway is ready")

        assert rows(elsewhere / "ledger.db", "SELECT id FROM jobs") == []
        assert f"is ready, on the ledger {ledger_id}" not in stranger.log()
