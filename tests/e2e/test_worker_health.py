"""The health check of a worker's container, run against real servers with and without workers."""

import os
import re
import subprocess
import sys
from pathlib import Path

from fanfold.devstack.running import RunningStack, free_ports
from tests.e2e.workers_alone import temporal_alone
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def check(address: str, data_dir: Path) -> "subprocess.CompletedProcess[str]":
    """The check as the container runs it."""
    ledger_url = f"sqlite:///{data_dir / 'ledger.db'}"
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "worker_is_polling.py"],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TEMPORAL_ADDRESS": address}
        | {"FANFOLD_LEDGER_URL": ledger_url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_worker_that_polls_is_healthy(stack: RunningStack) -> None:
    answer = check(stack.temporal_address, stack.data_dir)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_host_without_a_worker_that_polls_is_unhealthy(tmp_path: Path) -> None:
    with temporal_alone(tmp_path) as address:
        eventually(
            lambda: "no worker" in check(address, tmp_path).stderr, what="the server answers"
        )
        answer = check(address, tmp_path)
    assert answer.returncode == 1
    assert re.search(r"polls fanfold-jobs-\w+: last heard never", answer.stderr)


def test_a_worker_of_another_ledger_does_not_count(stack: RunningStack, tmp_path: Path) -> None:
    """It polls, but the queues of its own ledger: the jobs of this one get nothing of it."""
    answer = check(stack.temporal_address, tmp_path)
    assert answer.returncode == 1
    assert "last heard never" in answer.stderr


def test_a_worker_cut_off_from_temporal_is_unhealthy(tmp_path: Path) -> None:
    answer = check(f"127.0.0.1:{free_ports(1)[0]}", tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Temporal does not answer: ")
    assert "Traceback" not in answer.stderr
