"""Plots of the raw figures as SVG; runs in an environment with matplotlib and nothing of ours.

`python -m benchmarks.plots RESULTS.json` writes `RESULTS-*.svg` beside it and prints, for
each, its name and what it shows.
"""
