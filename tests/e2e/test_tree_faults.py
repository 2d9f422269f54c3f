"""A job made of jobs outlives what happens to it: terminated workflows, killed processes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.faults import client, is_answering, kill, terminate
from tests.e2e.journeys import begun, get, submit
from tests.e2e.test_tree_controls import open_gates, running_tree
from tests.e2e.trees import PICKY, below, ended, gated, in_states, states
from tests.waiting import eventually

NewStack = Callable[..., RunningStack]
ALL = ("a", "c", "d", "e")


def test_a_sub_job_terminated_in_temporal_fails_and_its_parent_goes_on(
    stack: RunningStack, api: httpx.Client, gate: Path
) -> None:
    job_id = running_tree(api, gate)
    part = below(api, job_id)["a"]["id"]

    terminate(stack, part)

    in_states(api, job_id, a="failed")
    open_gates(gate, *ALL)
    job = ended(api, job_id)
    assert (job["state"], job["result"]) == ("partially_succeeded", 6)
    error = get(api, part)["error"]
    assert error["type"] == "JobClosedOutside"
    assert "terminated" in error["message"]


def test_a_parent_in_the_middle_that_is_terminated_takes_what_is_below_with_it(
    stack: RunningStack, api: httpx.Client, gate: Path
) -> None:
    job_id = running_tree(api, gate)

    terminate(stack, below(api, job_id)["b"]["id"])

    in_states(api, job_id, b="failed", **{"b/c": "cancelled", "b/d": "cancelled"})
    open_gates(gate, *ALL)
    job = ended(api, job_id)
    assert (job["state"], job["result"]) == ("partially_succeeded", 4)


def test_a_root_that_is_terminated_takes_the_tree_with_it(
    stack: RunningStack, api: httpx.Client, gate: Path
) -> None:
    job_id = running_tree(api, gate)

    terminate(stack, job_id)

    job = ended(api, job_id)
    assert (job["state"], job["error"]["type"]) == ("failed", "JobClosedOutside")
    assert set(states(api, job_id).values()) == {"cancelled"}
    assert not begun(gate / "e")


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_kill_of_gateway_and_workers_in_the_middle_of_a_tree(
    new_stack: NewStack, gate: Path, execution: str
) -> None:
    stack = new_stack(FANFOLD_WORKERS="2")
    with client(stack) as api:
        job_id = running_tree(api, gate, execution=execution)
        before = below(api, job_id)
        for name in ("worker-0", "worker-1", "gateway"):
            kill(stack, name)
    with client(stack) as api:
        eventually(partial(is_answering, api), what="the gateway is back")
        open_gates(gate, *ALL)
        job = ended(api, job_id)
        assert (job["state"], job["result"], job["chunks"]["succeeded"]) == ("succeeded", 8, 8)
        after = below(api, job_id)
        assert {path: one["id"] for path, one in after.items()} == {
            path: one["id"] for path, one in before.items()
        }


def test_kill_of_everything_in_the_middle_of_a_compensation(
    new_stack: NewStack, gate: Path
) -> None:
    undo = {"processor": "undone", "options": {"directory": str(gate)}}
    jobs: dict[str, Any] = {
        "flight": {"chunks": [[1], [2]], "processor": "double", "compensate": undo},
        "hotel": {"chunks": [[3, 4]], "processor": "double", "compensate": undo},
        "car": {"chunks": [[2]], **PICKY, "compensate": undo},
    }
    stack = new_stack()
    with client(stack) as api:
        job_id = submit(api, jobs=jobs, order="sequence")["id"]
        eventually((gate / "undoing-6-8-1").exists, what="the last one is being undone")
        assert get(api, job_id)["state"] == "running"
        for name in ("worker-0", "gateway", "temporal"):
            kill(stack, name)
    with client(stack) as api:
        eventually(partial(is_answering, api), what="the gateway is back")
        (gate / "open").touch()
        job = ended(api, job_id, timeout_seconds=120)
        assert (job["state"], job["error"]["type"]) == ("failed", "SequenceFailed")
        assert states(api, job_id) == {
            "flight": "succeeded",
            "flight/compensation": "succeeded",
            "hotel": "succeeded",
            "hotel/compensation": "succeeded",
            "car": "failed",
        }
        assert (gate / "undone").read_text().split() == ["6-8", "4", "2"]
        assert job["chunks"]["succeeded"] == 3


def test_a_compensation_that_failed_is_redriven_alone(api: httpx.Client) -> None:
    undo = {**PICKY, "processor": "validate", "options": {"rules": [{"type": "string"}]}}
    jobs = {
        "done": {"items": [1], "processor": "double", "compensate": undo},
        "bad": {"items": [2], **PICKY},
    }
    job_id = submit(api, jobs=jobs, order="sequence")["id"]
    job = ended(api, job_id)
    assert (job["state"], job["error"]["type"]) == ("failed", "SequenceFailed")
    tree = below(api, job_id)
    assert tree["done/compensation"]["state"] == "failed"

    again = api.post(
        f"/jobs/{tree['done/compensation']['id']}/redrive", json={"processor": "transform"}
    )

    assert again.status_code == 202, again.text
    in_states(api, job_id, **{"done/compensation": "succeeded"})
    assert get(api, tree["done"]["id"])["jobs"]["succeeded"] == 1
    assert get(api, job_id) == job


def test_kill_of_the_gateway_right_after_the_control_of_a_tree(
    new_stack: NewStack, gate: Path
) -> None:
    stack = new_stack()
    with client(stack) as api:
        job_id = submit(api, jobs={"a": gated(gate, "a"), "b": gated(gate, "b")})["id"]
        for name in ("a", "b"):
            eventually(partial(begun, gate / name), what=f"{name} has begun")
        assert api.delete(f"/jobs/{job_id}").status_code == 202
        kill(stack, "gateway")
    with client(stack) as api:
        eventually(partial(is_answering, api), what="the gateway is back")
        assert ended(api, job_id)["state"] == "cancelled"
        assert set(states(api, job_id).values()) == {"cancelled"}
