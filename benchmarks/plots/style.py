"""How plots look: readable on light and dark pages, for the colour-blind, the same every time."""

from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found] # in an environment of its own

# Of middle brightness, so that it is legible on white as on black.
INK = "#6e7781"
_GRID = "#8b949e"

# Okabe and Ito's palette, told apart by the colour-blind; each side has a marker besides.
# Sides of ours that ran at one size only, on PostgreSQL say, are in the tables alone.
COLOURS = {
    "workflow": "#0072B2",
    "activity": "#D55E00",
    "lab5": "#8b949e",
    "dbos": "#CC79A7",
    "celery": "#009E73",
}
MARKERS = {"workflow": "o", "activity": "s", "lab5": "^", "dbos": "X", "celery": "D"}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
"""Line styles, for plots whose lines have no markers."""


def apply() -> None:
    """Set them for every plot of this process."""
    mpl.use("svg")
    mpl.rcParams.update(
        {
            "axes.edgecolor": INK,
            "axes.grid": True,
            "axes.labelcolor": INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.axisbelow": True,
            "figure.figsize": (8.0, 4.6),
            "figure.constrained_layout.use": True,
            "font.family": "sans-serif",
            "font.size": 11,
            "grid.alpha": 0.3,
            "grid.color": _GRID,
            "legend.frameon": False,
            "legend.labelcolor": INK,
            "lines.linewidth": 2,
            "lines.markersize": 7,
            # Text stays text, and ids do not change from run to run.
            "svg.fonttype": "none",
            "svg.hashsalt": "fanfold",
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )


def save(figure: Any, file: Path) -> None:  # noqa: ANN401 - matplotlib is not installed here
    """As SVG with nothing behind it, and nothing in it of the day or the machine."""
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
