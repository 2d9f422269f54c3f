"""`python -m benchmarks.plots RESULTS.json`."""

import json
import sys
from pathlib import Path

from benchmarks.plots import charts, style


def main(raw_figures: Path) -> None:
    """Draw what there are figures for."""
    figures = json.loads(raw_figures.read_text())
    style.apply()
    for name, chart in charts.CHARTS.items():
        figure = chart(figures)
        if figure is not None:
            file = raw_figures.with_name(f"{raw_figures.stem}-{name}.svg")
            style.save(figure, file)
            described = (chart.__doc__ or "").partition("\n")[0]
            sys.stdout.write(f"{file.name} {described}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
