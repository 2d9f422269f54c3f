"""`make demo`'s own command, and its fold against the same count made in plain Python."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from fanfold.cli.demo import airports, airports_job
from tests.e2e.journeys import children, run

ROOT = Path(__file__).parents[2]


def is_valid(airport: dict[str, Any]) -> bool:
    """The demo's rules once more, written out."""
    return (
        re.fullmatch("[A-Z0-9]{2,4}", airport["icao"]) is not None
        and (not airport["iata"] or re.fullmatch("[A-Z0-9]{3}", airport["iata"]) is not None)
        and bool(airport["name"])
        and len(airport["country"]) == 2
        and -90 <= airport["lat"] <= 90
        and -180 <= airport["lon"] <= 180
        and -1500 <= airport["elevation"] <= 20000
        and bool(airport["tz"])
    )


def test_the_fold_over_all_airports_is_the_count_made_directly(api: httpx.Client) -> None:
    items = airports()
    valid = [airport for airport in items if is_valid(airport)]

    job = run(api, **airports_job(items))

    assert len(items) > 28_000
    assert 0 < len(valid) < len(items), "the rules must have something to drop"
    assert job["state"] == "succeeded"
    assert job["result"] == dict(Counter(airport["country"] for airport in valid))
    assert job["items"] == {
        "total": len(items),
        "succeeded": len(valid),
        "failed": len(items) - len(valid),
    }
    dropped = [error for child in children(api, job["id"]) for error in child["item_errors"]]
    assert len(dropped) == len(items) - len(valid)


def test_the_demo_shows_both_jobs_and_leaves_nothing_running() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fanfold.cli.main", "demo"],
        cwd=ROOT,
        env=os.environ | {"FANFOLD_HTTP_PORT": "1", "FANFOLD_DATA_DIR": "nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "airports in" in done.stdout
    assert "partially_succeeded" in done.stdout
    assert "Simulated failure for value 2" in done.stdout
    (port,) = re.findall(r"Ready at http://127.0.0.1:(\d+)", done.stdout)
    assert not (ROOT / "nowhere").exists()
    try:
        httpx.get(f"http://127.0.0.1:{port}/livez")
    except httpx.ConnectError:
        return
    raise AssertionError("the demo's gateway is still there")
