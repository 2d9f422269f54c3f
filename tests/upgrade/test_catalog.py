"""A gateway reads what the workers of the other release publish."""

from typing import Any

import httpx

from tests.upgrade.releases import Release
from tests.upgrade.side_by_side import SideBySide


def processors(api: httpx.Client) -> dict[str, dict[str, Any]]:
    answer = api.get("/processors")
    assert answer.status_code == 200, answer.text
    return {entry["name"]: entry for entry in answer.json()["processors"]}


def test_each_gateway_reads_what_the_workers_of_the_other_publish(
    both: SideBySide, old: Release, new: Release
) -> None:
    before, after = both.gateway(old), both.gateway(new)

    both.worker(old)
    found = processors(after.api)["double"]
    assert (found["takes"], found["item_schema"]) == (None, None)
    assert found["example"] == processors(before.api)["double"]["example"]
    refused = after.api.post(
        "/jobs", json={"items": [1], "processor": "double", "check_items": True}
    )
    assert refused.json()["code"] == "item_schema_unknown"

    both.worker(new)
    assert processors(after.api)["double"]["takes"] == "item"
    assert set(processors(before.api)) == set(processors(after.api))
    for api in (before.api, after.api):
        taken = api.post("/jobs", json={"items": ["x"], "processor": "word_count"})
        assert taken.status_code == 202, taken.text
        wrong = api.post(
            "/jobs", json={"items": [1], "processor": "double", "options": {"seed": "x"}}
        )
        assert wrong.json()["code"] == "invalid_options"
