"""Part e: how long until the gateway alone, and the whole stack, can be used."""

import http.client
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measurement import Measurement, listed
from benchmarks.processes import started, wait_until
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from devstack.running import free_ports, running

GATEWAY_TARGET_SECONDS = 2.0
STACK_TARGET_SECONDS = 8.0


def measure(sizes: Sizes, progress: Progress) -> Iterator[Measurement]:
    """Each several times in an empty data directory; the slowest start counts."""
    yield _slowest_of(
        "the gateway alone, from exec to /livez 200",
        _start_gateway,
        target=GATEWAY_TARGET_SECONDS,
        sizes=sizes,
        progress=progress,
    )
    yield _slowest_of(
        "the whole stack, from `fanfold up` to ready",
        _start_stack,
        target=STACK_TARGET_SECONDS,
        sizes=sizes,
        progress=progress,
    )


def _slowest_of(
    name: str, start: Callable[[Path], float], *, target: float, sizes: Sizes, progress: Progress
) -> Measurement:
    times: list[float] = []
    for number in range(1, sizes.starts + 1):
        progress.now(f"{name}: {number} of {sizes.starts}")
        with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
            times.append(start(Path(directory)))
    progress.note(f"{name}: {listed(times, 2)} s")
    return Measurement(
        part="e",
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
        [sys.executable, "-m", "cli.main", "gateway"],
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
