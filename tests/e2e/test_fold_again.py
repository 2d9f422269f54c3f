"""Redrives of jobs of which nothing is left but the fold: no chunk runs again."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import children, get, run, submit
from tests.e2e.test_redrive import EXECUTIONS, redrive, redriven
from tests.e2e.test_steering import in_state
from tests.e2e.trees import below, ended, states
from tests.e2e.trees import run as run_tree


@EXECUTIONS
def test_where_only_the_fold_failed_it_alone_is_made_again(
    api: httpx.Client, tmp_path: Path, execution: str
) -> None:
    path = str(tmp_path / "there")
    job = run(
        api,
        chunks=[[[path]], [[path]]],
        processor="flattened",
        reducer="awaited",
        execution=execution,
    )
    assert (job["state"], job["error"]["type"]) == ("failed", "FoldFailed")
    before = children(api, job["id"])
    # What says which chunks, or what they are to do, is for none.
    others: list[dict[str, Any]] = [
        {"select": {"states": ["failed"]}},
        {"options": {}},
        {"processor": "double"},
    ]
    for body in others:
        assert redrive(api, job["id"], **body).json()["code"] == "nothing_selected"

    Path(path).touch()
    done = redriven(api, job["id"])

    assert (done["state"], done["run"], done["result"]) == ("succeeded", 2, [path, path])
    assert children(api, job["id"]) == before
    assert get(api, f"{job['id']}?run=1")["error"]["type"] == "FoldFailed"
    assert redrive(api, job["id"]).json()["code"] == "nothing_selected"


def test_what_was_never_sealed_has_no_fold_to_make(api: httpx.Client) -> None:
    job_id = submit(api, source="upload", processor="double")["id"]
    api.delete(f"/jobs/{job_id}")
    in_state(api, job_id, "cancelled")

    assert redrive(api, job_id).json()["code"] == "nothing_selected"


@pytest.mark.parametrize("again", ["", "a", "a/b"])
def test_where_only_folds_failed_these_are_made_again(
    api: httpx.Client, tmp_path: Path, again: str
) -> None:
    path = str(tmp_path / "there")
    job = run_tree(
        api,
        processor="flattened",
        jobs={
            "a": {"jobs": {"b": {"items": [[path]], "reducer": "awaited"}}},
            "c": {"items": [[path]]},
        },
    )
    assert states(api, job["id"]) == {"a": "failed", "a/b": "failed", "c": "succeeded"}
    Path(path).touch()
    part = below(api, job["id"])[again]["id"] if again else job["id"]

    response = api.post(f"/jobs/{part}/redrive")

    assert response.status_code == 202, response.text
    assert ended(api, job["id"])["state"] == "succeeded"
    tree = below(api, job["id"])
    assert {path: one["run"] for path, one in tree.items()} == {"a": 2, "a/b": 2, "c": 1}
    assert [child["run"] for child in children(api, tree["a/b"]["id"])] == [1]


def test_where_the_fold_of_a_tree_failed_it_alone_is_made_again(
    api: httpx.Client, tmp_path: Path
) -> None:
    path = str(tmp_path / "there")
    part = {"items": [[path]], "processor": "flattened", "reducer": "awaited"}
    Path(path).touch()
    job = run_tree(api, reducer="sum", jobs={"a": {"items": [1], "processor": "double"}, "b": part})
    assert (job["state"], job["error"]["type"]) == ("failed", "FoldFailed")
    before = below(api, job["id"])

    response = api.post(f"/jobs/{job['id']}/redrive")

    assert response.status_code == 202, response.text
    done = ended(api, job["id"])
    assert (done["run"], done["state"], done["error"]) == (2, "failed", job["error"])
    assert below(api, job["id"]) == before
