"""The commands on whole jobs: get, watch, list, purge."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.cli.connection import connected, die
from fanfold.cli.exits import BY_STATE, Exit
from fanfold.cli.options import (
    DEFAULT_URL,
    AsJson,
    JobId,
    Limit,
    Url,
    labels_of,
    state_of,
    whole_number,
)

if TYPE_CHECKING:
    from fanfold import Fanfold, Job

# Jobs have no number that says how many there are: so many are counted, no more.
_MOST_COUNTED = 1000

app = typer.Typer()


@app.command()
def get(
    job_id: JobId,
    *,
    run: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="N", help="As this run of it ended."),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show a job as it is now."""
    with connected(url) as fanfold:
        show(fanfold.get(job_id, run=run), url, as_json=as_json)


@app.command()
def watch(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Watch a job to its end; the exit code says how it ended."""
    with connected(url) as fanfold:
        see_to_the_end(fanfold, fanfold.get(job_id), url, as_json=as_json)


@app.command(name="list")
def list_jobs(
    *,
    state: Annotated[
        str | None, typer.Option(help="Only jobs in this state.", callback=state_of("JobState"))
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only jobs with name:value.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    from fanfold.cli import output, tables

    labels = labels_of(label)
    with connected(url) as fanfold:
        found = fanfold.jobs(state=state, labels=labels, limit=limit + 1)
        if as_json:
            output.print_objects(islice(found, limit))
        else:
            tables.print_jobs(islice(found, limit))
        if next(found, None) is not None:
            most = limit + _MOST_COUNTED
            counted = sum(1 for _ in fanfold.jobs(state=state, labels=labels, limit=most))
            output.tell_of_more(counted - limit, limit=limit, is_least=counted == most)


@app.command()
def purge(job_id: JobId, *, url: Url = DEFAULT_URL) -> None:
    """Remove a finished job with all its data."""
    with connected(url) as fanfold:
        fanfold.purge(job_id)


def see_to_the_end(fanfold: "Fanfold", job: "Job", url: str, *, as_json: bool) -> None:
    """Wait for the job's end, show it, and exit as its state says."""
    from fanfold.cli import hints, output

    try:
        job = output.watch(fanfold, job, url)
    except KeyboardInterrupt:
        die(
            Exit.INTERRUPTED,
            f"fanfold: the job goes on; to watch it again: {hints.command(url, 'watch', job.id)}",
        )
    show(job, url, as_json=as_json)
    raise typer.Exit(BY_STATE.get(job.state, Exit.FAILED))


def show(job: "Job", url: str, *, as_json: bool) -> None:
    """Print a job, for people or for scripts."""
    from fanfold.cli import output, tables

    if as_json:
        output.print_objects([job])
    else:
        tables.print_job(job, url)
