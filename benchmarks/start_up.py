"""In part b: how long until the gateway alone, and the whole stack, can be used."""

import http.client
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import Figures, Findings, Measurement, listed
from benchmarks.processes import started, wait_until
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.devstack.running import free_ports, running

GATEWAY_TARGET_SECONDS = 2.0
STACK_TARGET_SECONDS = 8.0


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Each several times in an empty data directory; the slowest start counts."""
    gateway = "the gateway alone, from exec to /livez 200"
    figures["gateway_start_seconds"] = _times(gateway, _start_gateway, sizes, progress)
    yield _slowest(gateway, figures["gateway_start_seconds"], GATEWAY_TARGET_SECONDS)
    stack = "the whole stack, from `fanfold up` to ready"
    figures["stack_start_seconds"] = _times(stack, _start_stack, sizes, progress)
    yield _slowest(stack, figures["stack_start_seconds"], STACK_TARGET_SECONDS)


def _times(
    name: str, start: Callable[[Path], float], sizes: Sizes, progress: Progress
) -> list[float]:
    times: list[float] = []
    for number in range(1, sizes.starts + 1):
        progress.now(f"{name}: {number} of {sizes.starts}")
        with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
            times.append(start(Path(directory)))
    progress.note(f"{name}: {listed(times, 2)} s")
    return times


def _slowest(name: str, times: list[float], target: float) -> Measurement:
    return Measurement(
        part="b",
        name=name,
        value=max(times),
        unit="s",
        target=target,
        is_more_better=False,
        details=(f"the slowest of {listed(times, 2)} s",),
    )


def _start_gateway(directory: Path) -> float:
    """Without a Temporal: the gateway takes jobs, and says that it lives, while that is away."""
    http_port, nobody = free_ports(2)
    environment = {
        "FANFOLD_DATA_DIR": str(directory),
        "FANFOLD_HTTP_PORT": str(http_port),
        "TEMPORAL_ADDRESS": f"127.0.0.1:{nobody}",
    }
    begun = time.perf_counter()
    with started(
        [sys.executable, "-m", "fanfold.cli.main", "gateway"],
        log=directory / "gateway.log",
        environment=environment,
    ) as gateway:
        wait_until(lambda: _is_alive(http_port), gateway, pause_seconds=0.01)
        return time.perf_counter() - begun


def _start_stack(directory: Path) -> float:
    begun = time.perf_counter()
    with running(directory):
        return time.perf_counter() - begun


def _is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
