"""The command on what a job is made of: jobs."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.cli.connection import connected
from fanfold.cli.options import DEFAULT_URL, AsJson, JobId, Limit, Url, state_of

if TYPE_CHECKING:
    from fanfold import Fanfold, Job

app = typer.Typer()


@app.command()
def jobs(
    job_id: JobId,
    *,
    state: Annotated[
        str | None,
        typer.Option(
            help="Only direct sub-jobs in this state, without what is below them.",
            callback=state_of("JobState"),
        ),
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the jobs that a job is made of, as a tree."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = _below(fanfold, job_id, state, limit + 1)
        shown = list(islice(found, limit))
        if as_json:
            output.print_objects(job for _, job in shown)
        elif shown:
            tables.print_tree(shown)
        else:
            which = "has no sub-job in this state" if state else "is not made of other jobs"
            output.remark(f"The job {which}.")
        if next(found, None) is not None:
            output.tell_of_more(None, limit=limit)


def _below(
    fanfold: "Fanfold", job_id: str, state: str | None, limit: int
) -> "Iterator[tuple[int, Job]]":
    """The jobs below one, in order, each with how deep it is; no more than so many of a level."""
    for job in fanfold.sub_jobs(job_id, state=state, limit=limit):
        yield 0, job
        if state is None and job.links.jobs is not None:
            for level, below in _below(fanfold, job.id, None, limit):
                yield level + 1, below
