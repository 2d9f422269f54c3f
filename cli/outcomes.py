"""The commands on what became of a job's data: children, child, items, results."""

from itertools import islice
from typing import Annotated

import typer

from fanfold.cli.connection import connected
from fanfold.cli.options import DEFAULT_URL, AsJson, ChildIndex, JobId, Limit, Output, Url, state_of
from fanfold.contract.formats import ResultFormat

ChildStateOption = Annotated[
    str | None, typer.Option(help="Only children in this state.", callback=state_of("ChildState"))
]

app = typer.Typer()


@app.command()
def children(
    job_id: JobId,
    *,
    state: ChildStateOption = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List a job's children."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = fanfold.children(job_id, state=state, limit=limit + 1)
        if as_json:
            output.print_objects(islice(found, limit))
        else:
            tables.print_children(islice(found, limit))
        if next(found, None) is not None:
            counts = fanfold.get(job_id).chunks
            output.tell_of_more(getattr(counts, state or "total") - limit, limit=limit)


@app.command()
def child(
    job_id: JobId,
    index: ChildIndex,
    *,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show one child, with where the processor's code failed."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = fanfold.child(job_id, index)
        if as_json:
            output.print_objects([found])
        else:
            tables.print_child(job_id, found)


@app.command()
def items(
    job_id: JobId,
    *,
    state: Annotated[
        str | None, typer.Option(help="Only items in this state.", callback=state_of("ItemState"))
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List a job's items, each with what came of it."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = fanfold.items(job_id, state=state, limit=limit + 1)
        if as_json:
            output.print_objects(islice(found, limit))
        else:
            tables.print_items(islice(found, limit))
        if next(found, None) is not None:
            # A job counts items by what came of them only.
            count = getattr(fanfold.get(job_id).items, state or "total", None)
            output.tell_of_more(None if count is None else count - limit, limit=limit)


@app.command()
def results(
    job_id: JobId,
    *,
    state: ChildStateOption = None,
    format_: Annotated[
        ResultFormat, typer.Option("--format", help="A line of JSON a child, or a row an item.")
    ] = ResultFormat.NDJSON,
    columns: Annotated[
        str | None, typer.Option(help="Of CSV: the fields to give, separated by commas.")
    ] = None,
    output: Output = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Stream the finished children's results, in index order."""
    from fanfold.cli.whole_file import write

    with connected(url) as fanfold:
        pieces = fanfold.result_bytes(
            job_id,
            state=state,
            format=format_.value,
            columns=columns.split(",") if columns else (),
        )
        write(pieces, output, "fanfold results")
