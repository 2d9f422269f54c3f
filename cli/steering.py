"""The commands on jobs that run: pause, resume, set, cancel, cancel-child, release."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from fanfold.cli.connection import connected, die
from fanfold.cli.exits import Exit
from fanfold.cli.jobs import show
from fanfold.cli.options import (
    DEFAULT_URL,
    AsJson,
    ChildIndex,
    Given,
    JobId,
    Url,
    fields,
    in_json,
    labels_of,
    number_above_0,
    or_none,
    whole_number,
)

if TYPE_CHECKING:
    from fanfold import JobChanges

app = typer.Typer()


@app.command()
def pause(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Pause a job: no further chunk begins, those in flight finish."""
    with connected(url) as fanfold:
        show(fanfold.pause(job_id), url, as_json=as_json)


@app.command()
def resume(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused job go on."""
    with connected(url) as fanfold:
        show(fanfold.resume(job_id), url, as_json=as_json)


@app.command(name="set")
def set_(
    job_id: JobId,
    *,
    max_concurrency: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(whole_number(1)), metavar="N", help="Most chunks at a time, or none."
        ),
    ] = None,
    max_per_second: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(number_above_0), metavar="X", help="Most starts a second, or none."
        ),
    ] = None,
    priority: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(whole_number(1)),
            metavar="N",
            help="1 goes first, 5 last; none is the default, 3.",
        ),
    ] = None,
    deadline: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(number_above_0),
            metavar="SECONDS",
            help="How long it may run, from its start, or none.",
        ),
    ] = None,
    tolerated_failures: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(in_json), metavar="JSON", help="The tolerance, as in a job, or none."
        ),
    ] = None,
    retention_hours: Annotated[
        Given | None,
        typer.Option(
            parser=or_none(number_above_0),
            metavar="HOURS",
            help="How long it is kept after its end; none is the gateway's setting.",
        ),
    ] = None,
    name: Annotated[
        Given | None, typer.Option(parser=or_none(str), metavar="TEXT", help="Its name, or none.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label to set, as name:value.")] = None,
    remove_label: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A label to remove.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Change a job while it runs: its limits, its priority, its name, its labels."""
    labels = {**labels_of(label), **dict.fromkeys(remove_label or [])}
    changes = fields(
        max_concurrency=max_concurrency,
        max_per_second=max_per_second,
        priority=priority,
        deadline_seconds=deadline,
        tolerated_failures=tolerated_failures,
        retention_hours=retention_hours,
        name=name,
        labels=labels or None,
    )
    if not changes:
        die(
            Exit.USAGE,
            "fanfold set: nothing is to be changed; say what, like --max-concurrency 10 "
            "(fanfold set --help lists what can be)",
        )
    with connected(url) as fanfold:
        job = fanfold.update(job_id, **cast("JobChanges", changes))
        show(job, url, as_json=as_json)


@app.command()
def cancel(
    job_id: JobId,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Let what is in flight finish.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Cancel a job; what has finished is kept."""
    with connected(url) as fanfold:
        show(fanfold.cancel(job_id, drain=drain), url, as_json=as_json)


@app.command()
def cancel_child(
    job_id: JobId, index: ChildIndex, *, as_json: AsJson = False, url: Url = DEFAULT_URL
) -> None:
    """Cancel one child; the job goes on without it."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        child = fanfold.cancel_child(job_id, index)
        if as_json:
            output.print_objects([child])
        else:
            tables.print_child(job_id, child)


@app.command()
def release(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Give up what a waiting job holds: it fails, and the job goes to its end."""
    with connected(url) as fanfold:
        show(fanfold.release(job_id), url, as_json=as_json)
