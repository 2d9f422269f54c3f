"""One function for each plot: raw figures in, a matplotlib figure out, None without figures."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.pyplot as plt  # type: ignore[import-not-found] # in an environment of its own
from matplotlib.ticker import (  # type: ignore[import-not-found] # the same
    FuncFormatter,
    LogLocator,
    NullLocator,
)

from benchmarks.plots.style import COLOURS, LINES, MARKERS, SERIES

Plot = Any

_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def rate_by_size(figures: Mapping[str, Any]) -> Plot | None:
    """Chunks a second by number of chunks, a line for each side; both axes logarithmic."""
    rates = _rates(figures)
    sizes = sorted({size for of_side in rates.values() for size in of_side})
    if not sizes:
        return None
    plot, axes = plt.subplots()
    for side, of_side in rates.items():
        measured = sorted(of_side)
        axes.plot(
            measured,
            [statistics.median(of_side[size]) for size in measured],
            label=figures["a"]["names"][side],
            color=COLOURS[side],
            marker=MARKERS[side],
        )
        # Every single turn, so that nobody takes a median for the truth.
        axes.plot(
            [size for size in measured for _ in of_side[size]],
            [rate for size in measured for rate in of_side[size]],
            color=COLOURS[side],
            marker=".",
            markersize=4,
            linestyle="none",
            alpha=0.6,
        )
    axes.set_xscale("log")
    _logarithmic(axes)
    axes.set_xticks(sizes)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("chunks in the job (small dots: each single run)")
    axes.set_ylabel("chunks a second")
    axes.set_title("Chunks a second by size of the job (higher is better)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return plot


def rate_at_common_size(figures: Mapping[str, Any]) -> Plot | None:
    """Chunks a second at one number of chunks, a bar for each side.

    It is the largest number that most of them have run.
    """
    rates = _rates(figures)
    sizes = {size for of_side in rates.values() for size in of_side}
    if not sizes:
        return None
    size = max(sizes, key=lambda one: (sum(one in of_side for of_side in rates.values()), one))
    medians = {
        side: statistics.median(of_side[size]) for side, of_side in rates.items() if size in of_side
    }
    sides = sorted(medians, key=lambda side: medians[side])
    plot, axes = plt.subplots(figsize=(8.0, 0.9 + 0.6 * len(sides)))
    bars = axes.barh(
        [figures["a"]["names"][side] for side in sides],
        [medians[side] for side in sides],
        color=[COLOURS[side] for side in sides],
        height=0.6,
    )
    axes.bar_label(bars, [f"{medians[side]:,.0f}" for side in sides], padding=5)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("chunks a second")
    axes.set_title(f"Chunks a second at {size:,} chunks (median)")
    return plot


def poll_latency(figures: Mapping[str, Any]) -> Plot | None:
    """Percentiles of a poll's latency while a job runs."""
    polls = figures.get("c", {})
    under_load = polls.get("under_load", {})
    if not under_load:
        return None
    plot, axes = plt.subplots()
    percentiles: list[float] = []
    for number, (execution, measured) in enumerate(under_load.items()):
        percentiles = measured["percentiles"]
        axes.plot(
            range(len(percentiles)),
            measured["latency_ms"],
            label=f"execution {execution!r}, {measured['polls']:,} polls",
            color=SERIES[number],
            marker="os^D"[number],
        )
    target = polls["p99_target_ms"]
    axes.axhline(target, color=SERIES[4], linestyle="--")
    axes.annotate(f"target of p99: {target:g} ms", (0, target * 1.06), fontsize=10)
    axes.set_xticks(range(len(percentiles)), [f"p{percent:g}" for percent in percentiles])
    _logarithmic(axes)
    axes.set_xlabel("percentile of polls")
    axes.set_ylabel("ms from when the poll was due")
    axes.set_title(
        f"Latency of GET /jobs/{{id}} at {polls['polls_per_second']} a second, while the job runs"
    )
    axes.legend(loc="lower right")
    return plot


def memory_over_time(figures: Mapping[str, Any]) -> Plot | None:
    """Memory of each process while the large job is sent and run."""
    large = figures.get("f", {})
    if "memory_mib" not in large:
        return None
    plot, axes = plt.subplots()
    processes = large["memory_mib"].items()
    for number, (process, mib) in enumerate(processes):
        axes.plot(
            large["memory_seconds"],
            mib,
            label=process,
            color=SERIES[number % len(SERIES)],
            linestyle=LINES[number % len(LINES)],
        )
    accepted = large["upload_seconds"]
    axes.axvline(accepted, color=COLOURS["lab5"], linewidth=1, linestyle=":")
    axes.annotate(
        " accepted", (accepted, 1), xycoords=("data", "axes fraction"), va="top", fontsize=10
    )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("seconds since the upload began")
    axes.set_ylabel("resident memory, MiB")
    axes.set_title(f"Memory while a job of {large['chunks']:,} chunks is sent and run")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return plot


CHARTS: dict[str, Callable[[Mapping[str, Any]], Plot | None]] = {
    "rates": rate_by_size,
    "bars": rate_at_common_size,
    "polls": poll_latency,
    "memory": memory_over_time,
}


def _logarithmic(axes: Any) -> None:  # noqa: ANN401 - matplotlib is not installed here
    """The axis of values, with marks at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(_THOUSANDS)


def _rates(figures: Mapping[str, Any]) -> dict[str, dict[int, list[float]]]:
    """Rates of all turns by side and number of chunks, of the sides that ran and are drawn."""
    return {
        side: {int(chunks): turns for chunks, turns in of_side.items()}
        for side, of_side in figures.get("a", {}).get("rates", {}).items()
        if of_side and side in COLOURS
    }
