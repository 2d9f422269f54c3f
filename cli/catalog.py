"""The commands that show what the workers know: processors, reducers."""

from typing import TYPE_CHECKING

import typer

from fanfold.cli.connection import connected
from fanfold.cli.options import DEFAULT_URL, AsJson, Url

if TYPE_CHECKING:
    from fanfold import CatalogEntry

app = typer.Typer()


@app.command()
def processors(*, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the processors that the workers know, with their options."""
    with connected(url) as fanfold:
        _show(fanfold.processors(), as_json=as_json)


@app.command()
def reducers(*, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the reducers that the workers know."""
    with connected(url) as fanfold:
        _show(fanfold.reducers(), as_json=as_json)


def _show(entries: "list[CatalogEntry]", *, as_json: bool) -> None:
    from fanfold.cli import output, tables

    if as_json:
        output.print_objects(entries)
    else:
        tables.print_catalog(entries)
