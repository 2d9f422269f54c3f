"""Draws the plots from the raw figures, in an environment that has a plotting library."""

import subprocess
from pathlib import Path

from benchmarks.measurement import NotAvailable
from benchmarks.peers.environment import python_with
from benchmarks.processes import output_of
from benchmarks.progress import Progress


def draw(raw_figures: Path, progress: Progress) -> dict[str, str]:
    """What each plot shows, by its file name beside the figures; none where it cannot be drawn."""
    try:
        python = python_with("plots", progress)
        progress.now("drawing")
        drawn = output_of([str(python), "-m", "benchmarks.plots", str(raw_figures)])
    except (NotAvailable, subprocess.CalledProcessError) as error:
        progress.note(f"no plots: {error}")
        return {}
    lines = [line.partition(" ") for line in drawn.splitlines()]
    return {name: shown for name, _, shown in lines}
