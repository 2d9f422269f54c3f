"""Processes of both releases start together on a ledger that the release before has filled."""

from functools import partial

from tests.e2e.journeys import finish, get, run, submit
from tests.upgrade.releases import Release
from tests.upgrade.side_by_side import SideBySide
from tests.waiting import eventually

JOB = {"chunks": [[1, 2], [3]], "processor": "double", "reducer": "sum", "execution": "workflow"}


def test_one_of_the_processes_that_start_together_migrates_the_ledger(
    both: SideBySide, old: Release, new: Release
) -> None:
    gateway, worker = both.gateway(old), both.worker(old)
    finished = run(gateway.api, **JOB)
    worker.stop()
    waiting = submit(gateway.api, **JOB)
    gateway.stop()
    (before,) = both.rows("SELECT version_num FROM alembic_version")

    gateways = [both.starting_gateway(release) for release in (new, old, new)]
    workers = [both.starting_worker(release) for release in (new, old, new)]
    for one in gateways:
        eventually(one.is_answering, what=f"{one.process.name} answers")
    for each in workers:
        eventually(partial(each.says, "is ready"), what=f"{each.name} is ready")

    (after,) = both.rows("SELECT version_num FROM alembic_version")
    assert before < after
    # A migration that ran twice would have named the ledger twice, had it not failed.
    assert len(both.rows("SELECT id FROM ledger_identity")) == 1
    for process in [*(one.process for one in gateways), *workers]:
        assert "Traceback" not in process.said
    for one in gateways:
        assert get(one.api, finished["id"])["result"] == 12
        assert finish(one.api, waiting["id"])["result"] == 12


def test_the_release_before_goes_on_working_on_a_migrated_ledger(
    both: SideBySide, old: Release, new: Release
) -> None:
    gateway = both.gateway(old)
    both.worker(old)
    first = run(gateway.api, **JOB)
    both.gateway(new).stop()

    for execution in ("workflow", "activity"):
        job = run(gateway.api, **JOB | {"execution": execution})
        assert (job["state"], job["result"]) == ("succeeded", 12)
    assert gateway.api.get(f"/jobs/{first['id']}").json()["result"] == 12
    assert {one["id"] for one in gateway.api.get("/jobs").json()["jobs"]} >= {first["id"]}
    assert "Traceback" not in gateway.process.said
