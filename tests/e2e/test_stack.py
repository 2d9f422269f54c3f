"""`fanfold up` as its user sees it: clear errors, one line when ready, nothing left behind."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack, free_ports, prepare
from tests.e2e.faults import is_alive
from tests.e2e.journeys import run
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def fanfold(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fanfold.cli.main", *arguments],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_stack_says_in_one_line_where_it_is(new_stack: Callable[..., RunningStack]) -> None:
    stack = new_stack(FANFOLD_WORKERS="3")

    said = (stack.data_dir / "up.log").read_text().splitlines()
    names = sorted(path.name for path in (stack.data_dir / "run").glob("*.pid"))

    assert len(said) == 1
    assert f"http://localhost:{stack.http_port}" in said[0]
    assert f"http://localhost:{stack.ui_port}" in said[0]
    assert names == ["gateway.pid", "temporal.pid", "worker-0.pid", "worker-1.pid", "worker-2.pid"]
    assert httpx.get(f"{stack.url}/readyz").json() == {"status": "ok"}
    assert httpx.get(f"http://127.0.0.1:{stack.ui_port}").status_code == 200


def open_to_others(directory: Path) -> dict[str, str]:
    """What in the directory anybody but its owner has a right to, and which rights those are."""
    modes = {path: path.stat().st_mode for path in [directory, *directory.rglob("*")]}
    return {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}


def test_what_a_stack_keeps_is_its_owner_s_alone(new_stack: Callable[..., RunningStack]) -> None:
    stack = new_stack()
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        assert run(api, chunks=[[21]], processor="double", reducer="sum")["result"] == 42
        names = {path.name for path in stack.data_dir.rglob("*")}
        assert {"ledger.db", "ledger.db-wal", "ledger.db.lock", "temporal.db"} <= names
        assert {"gateway.pid", "gateway.log", "worker-0.log", "lock"} <= names
        assert open_to_others(stack.data_dir) == {}
    stack.stop()

    # As a release before left it.
    for path in [stack.data_dir, *stack.data_dir.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    new_stack()

    assert set(open_to_others(stack.data_dir)) <= {str(stack.data_dir / "up.log")}


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_within_ten_seconds(
    new_stack: Callable[..., RunningStack], gate: Path, number: signal.Signals
) -> None:
    stack = new_stack()
    pids = [int(path.read_text()) for path in (stack.data_dir / "run").glob("*.pid")]
    with httpx.Client(base_url=stack.url) as api:
        # A processor that does not want to end must not hold the stack up.
        job = {"chunks": [[1]], "processor": "gated", "options": {"directory": str(gate)}}
        api.post("/jobs", json=job)
        eventually(lambda: list(gate.glob("begun-*")), what="a chunk is running")
    assert stack.process is not None
    started = time.monotonic()
    stack.process.send_signal(number)

    assert stack.process.wait(timeout=12) == 0
    assert time.monotonic() - started < 10
    assert [pid for pid in pids if is_alive(pid)] == []
    assert list((stack.data_dir / "run").glob("*.pid")) == []


def test_a_killed_supervisor_takes_its_processes_along(
    new_stack: Callable[..., RunningStack],
) -> None:
    stack = new_stack()
    pids = [int(path.read_text()) for path in (stack.data_dir / "run").glob("*.pid")]
    assert stack.process is not None
    stack.process.kill()
    eventually(lambda: not [pid for pid in pids if is_alive(pid)], what="all have ended")


@pytest.mark.parametrize(
    "setting", ["FANFOLD_HTTP_PORT", "FANFOLD_TEMPORAL_PORT", "FANFOLD_TEMPORAL_UI_PORT"]
)
def test_a_port_in_use_is_a_clear_error(tmp_path: Path, setting: str) -> None:
    stack = prepare(tmp_path / "data")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fanfold("up", **stack.environment | {setting: str(port)})

    assert done.returncode == 2
    assert f"port {port} cannot be used on 127.0.0.1" in done.stderr
    assert setting in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_second_stack_in_the_same_directory_is_refused(stack: RunningStack) -> None:
    http_port, temporal_port, ui_port = free_ports(3)

    done = fanfold(
        "up",
        FANFOLD_DATA_DIR=str(stack.data_dir),
        FANFOLD_HTTP_PORT=str(http_port),
        FANFOLD_TEMPORAL_PORT=str(temporal_port),
        FANFOLD_TEMPORAL_UI_PORT=str(ui_port),
    )

    assert done.returncode == 2
    assert "another stack runs" in done.stderr


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [
        ("up", {"FANFOLD_HTTP_PORT": "many"}, "FANFOLD_HTTP_PORT"),
        ("up", {"FANFOLD_WORKERS": "0"}, "FANFOLD_WORKERS"),
        ("gateway", {"FANFOLD_LEDGER_URL": "mysql://x"}, "FANFOLD_LEDGER_URL"),
        ("gateway", {"FANFOLD_MAX_BODY_BYTES": "-1"}, "FANFOLD_MAX_BODY_BYTES"),
        ("gateway", {"FANFOLD_ALLOWED_HOSTS": "http://x"}, "FANFOLD_ALLOWED_HOSTS"),
        ("gateway", {"FANFOLD_REQUIRE_LEDGER_URL": "true"}, "FANFOLD_LEDGER_URL: must be set"),
        ("worker", {"FANFOLD_REQUIRE_LEDGER_URL": "true"}, "FANFOLD_LEDGER_URL: must be set"),
        ("migrate", {"FANFOLD_REQUIRE_LEDGER_URL": "true"}, "FANFOLD_LEDGER_URL: must be set"),
        ("worker", {"FANFOLD_PROCESSORS": "no_colon"}, "package.module:name"),
        ("worker", {"FANFOLD_PROCESSORS": "not.there:x"}, "there is no module 'not'"),
        ("worker", {"FANFOLD_PROCESSORS": "tests.waiting:absent"}, "has no 'absent'"),
        ("worker", {"FANFOLD_WORKER_SLOTS": "none"}, "FANFOLD_WORKER_SLOTS"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(
    tmp_path: Path, command: str, settings: dict[str, str], said: str
) -> None:
    done = fanfold(command, **{"FANFOLD_DATA_DIR": str(tmp_path), **settings})

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "code"), [("gateway", 1), ("worker", 1), ("migrate", 1), ("up", 2)]
)
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////proc/nowhere/ledger.db", "/proc/nowhere/ledger.db: "),
        ("postgresql://nobody@127.0.0.1:1/none", "port 1 failed: Connection refused"),
    ],
)
def test_a_ledger_that_is_away_is_one_line(
    tmp_path: Path, command: str, code: int, url: str, said: str
) -> None:
    stack = prepare(tmp_path / "data", {"FANFOLD_LEDGER_URL": url})

    done = fanfold(command, **stack.environment)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"fanfold {command}: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "code"), [("gateway", 1), ("worker", 1), ("up", 2)])
def test_a_ledger_that_refuses_is_one_line(tmp_path: Path, command: str, code: int) -> None:
    ledger = tmp_path / "ledger.db"
    url = f"sqlite:///{ledger}"
    stack = prepare(tmp_path / "data", {"FANFOLD_LEDGER_URL": url})
    assert fanfold("migrate", FANFOLD_LEDGER_URL=url).returncode == 0
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("DROP TABLE ledger_identity")

    done = fanfold(command, **stack.environment)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"fanfold {command}: {ledger}: no such table: ledger_identity\n"


def test_a_worker_that_cannot_load_a_processor_stops_the_start_with_its_words(
    tmp_path: Path,
) -> None:
    stack = prepare(tmp_path / "data", {"FANFOLD_PROCESSORS": "not.there:x"})

    done = fanfold("up", **stack.environment)

    assert done.returncode == 2
    assert "there is no module 'not'" in done.stderr


def test_gateway_and_worker_run_alone_and_in_any_order(tmp_path: Path) -> None:
    """The separate deployments: first a gateway with nothing behind it, then the rest."""
    from fanfold.devstack import temporal_server

    http_port, temporal_port, ui_port = free_ports(3)
    environment = os.environ | {
        "FANFOLD_LEDGER_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "FANFOLD_HTTP_PORT": str(http_port),
        "FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.5",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{temporal_port}",
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        processes.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip

    try:
        start(sys.executable, "-m", "fanfold.cli.main", "gateway")
        with httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=30) as api:

            def readiness() -> str:
                try:
                    return api.get("/readyz").text
                except httpx.TransportError:
                    return ""

            eventually(lambda: "Temporal" in readiness(), what="readyz names Temporal")
            accepted = api.post("/jobs", json={"chunks": [[21]], "processor": "any_name"})
            assert accepted.status_code == 202
            for name in ("ledger.db", "ledger.db-wal", "ledger.db.lock"):
                assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
            start(*temporal_server.command(
                database=tmp_path / "temporal.db", port=temporal_port, ui_port=ui_port
            ))  # fmt: skip
            eventually(lambda: "No worker" in readiness(), what="readyz names the workers")
            start(sys.executable, "-m", "fanfold.cli.main", "worker")
            eventually(lambda: "ok" in readiness(), what="all is ready")
            # Taken before any worker had said what it knows; now one has.
            early = api.get(f"{accepted.headers['location']}", headers={"Prefer": "wait=30"})
            assert early.json()["errors"][0]["type"] == "UnknownProcessor"
            assert run(api, chunks=[[21]], processor="double", reducer="sum")["result"] == 42
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=15)
