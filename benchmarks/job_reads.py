"""Part c: `GET /jobs/{id}` beside a bare FastAPI route of the same shape, and under load."""

import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks import polls_under_load
from benchmarks.jobs import double_job, run_to_the_end
from benchmarks.measurement import Figures, Findings, Measurement, listed
from benchmarks.processes import cpu_seconds, is_listening, output_of, started, wait_until
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.client.http import Fanfold
from fanfold.devstack.running import RunningStack, free_ports, running

TARGET_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What the driver saw in one turn."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    answer_bytes: int
    driver_cpu: float
    server_cpu: float
    """Share of a core that the server used."""


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """The most polls a second, then polls at a fixed pace while a job runs."""
    yield from _against_bare_route(sizes, progress, figures)
    yield from polls_under_load.measure(sizes, progress, figures)


def _against_bare_route(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Both servers run throughout; the driver asks one, then the other, over and over."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
    ):
        path = _finished_job(stack, sizes, progress)
        job_file = Path(directory) / "job.json"
        job_file.write_bytes(httpx.get(stack.url + path).raise_for_status().content)
        (bare_port,) = free_ports(1)
        command = [sys.executable, "-m", "benchmarks.bare_route", str(bare_port), str(job_file)]
        with started(command, log=Path(directory) / "bare.log") as process:
            wait_until(lambda: is_listening(bare_port), process)
            our_server = _Server(stack.http_port, stack.pid("gateway"))
            bare_server = _Server(bare_port, process.pid)
            ours, bare = _take_turns(our_server, bare_server, path, sizes, progress)
    figures["ours"] = [asdict(turn) for turn in ours]
    figures["bare"] = [asdict(turn) for turn in bare]
    yield _compare(ours, bare, sizes)


def _finished_job(stack: RunningStack, sizes: Sizes, progress: Progress) -> str:
    with Fanfold(stack.url) as fanfold:
        # Without failures, so that the answer holds no list of them and is of ordinary size.
        request = double_job(sizes.read_chunks, "auto") | {"options": {}, "reducer": "sum"}
        return run_to_the_end(fanfold, request, progress).links.self


def _take_turns(
    our_server: _Server, bare_server: _Server, path: str, sizes: Sizes, progress: Progress
) -> tuple[list[Turn], list[Turn]]:
    ours: list[Turn] = []
    bare: list[Turn] = []
    for server in (our_server, bare_server):
        progress.now("warming up")
        _drive(server, path, sizes)
    for number in range(1, sizes.read_pairs + 1):
        progress.now(f"pair {number} of {sizes.read_pairs}: bare route")
        bare.append(_drive(bare_server, path, sizes))
        progress.now(f"pair {number} of {sizes.read_pairs}: ours")
        ours.append(_drive(our_server, path, sizes))
        progress.note(
            f"pair {number} of {sizes.read_pairs}: ours {_line(ours[-1:])}; bare {_line(bare[-1:])}"
        )
    return ours, bare


def _compare(ours: list[Turn], bare: list[Turn], sizes: Sizes) -> Measurement:
    driver_cpu = max(turn.driver_cpu for turn in [*ours, *bare])
    answer_bytes = f"{ours[0].answer_bytes} and {bare[0].answer_bytes} bytes with their heads"
    return Measurement(
        part="c",
        name=f"GET of a finished job of {sizes.read_chunks:,} chunks, against a bare route",
        value=_median_rate(ours) / _median_rate(bare),
        unit="",
        target=TARGET_RATIO,
        is_more_better=True,
        details=(
            f"ours {_line(ours)} ({_rates(ours)})",
            f"bare {_line(bare)} ({_rates(bare)})",
            f"CPU a request: ours {_cpu_ms(ours):.2f} ms, bare {_cpu_ms(bare):.2f} ms",
            f"{sizes.read_connections} connections; answers of {answer_bytes}",
            f"the driver used {driver_cpu:.2f} of a core at most",
        ),
    )


def _drive(server: _Server, path: str, sizes: Sizes) -> Turn:
    arguments = [str(server.port), path, str(sizes.read_connections), str(sizes.read_seconds)]
    pids = {"server": [server.pid]}
    before = cpu_seconds(pids)
    answer = output_of([sys.executable, "-m", "benchmarks.http_driver", *arguments])
    server_cpu = (cpu_seconds(pids)["server"] - before["server"]) / sizes.read_seconds
    return Turn(**json.loads(answer), server_cpu=server_cpu)


def _median_rate(turns: list[Turn]) -> float:
    return statistics.median(turn.requests_per_second for turn in turns)


def _rates(turns: list[Turn]) -> str:
    return listed([turn.requests_per_second for turn in turns])


def _cpu_ms(turns: list[Turn]) -> float:
    """The median CPU time that the server spent on a request."""
    return statistics.median(turn.server_cpu * 1000 / turn.requests_per_second for turn in turns)


def _line(turns: list[Turn]) -> str:
    """Medians over the turns."""
    p50 = statistics.median(turn.p50_ms for turn in turns)
    p99 = statistics.median(turn.p99_ms for turn in turns)
    return f"{_median_rate(turns):,.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
