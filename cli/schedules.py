"""The commands on schedules, which submit a job again and again: `fanfold schedules ...`."""

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, cast

import typer

from fanfold.cli.connection import connected, die
from fanfold.cli.exits import Exit
from fanfold.cli.options import DEFAULT_URL, AsJson, Limit, Url, fields, whole_number
from fanfold.cli.whole_file import read

if TYPE_CHECKING:
    from fanfold import Schedule
    from fanfold.client.schedules import ScheduleOptions


class Overlap(StrEnum):
    """What happens when it is time, and the job before has not finished."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    TERMINATE_OTHER = "terminate_other"
    ALLOW_ALL = "allow_all"


app = typer.Typer(help="Submit jobs again and again.")
Name = Annotated[str, typer.Argument(help="A schedule's name.", show_default=False)]


@app.command(name="list")
def list_schedules(*, limit: Limit = 20, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List schedules, newest first."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = fanfold.schedules(limit=limit + 1)
        if as_json:
            output.print_objects(islice(found, limit))
        else:
            tables.print_schedules(islice(found, limit))
        if next(found, None) is not None:
            output.tell_of_more(None, limit=limit)


@app.command()
def create(
    name: Name,
    file: Annotated[str, typer.Argument(help="A JSON file with the job; - reads standard input.")],
    *,
    cron: Annotated[
        str | None, typer.Option(help="When: a cron expression, like '0 3 * * *'.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="SECONDS", help="Or how often."),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Of --cron, like Europe/Helsinki; by default UTC.")
    ] = None,
    overlap: Annotated[
        Overlap, typer.Option(help="What happens while the job before goes on.")
    ] = Overlap.SKIP,
    paused: Annotated[bool, typer.Option("--paused", help="Submit nothing until resumed.")] = False,
    note: Annotated[str | None, typer.Option(help="For people.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Have a job submitted at certain times."""
    if (cron is None) == (every is None):
        die(Exit.USAGE, "fanfold schedules create: give --cron or --every, and only one of them")
    if time_zone is not None and cron is None:
        die(Exit.USAGE, "fanfold schedules create: --time-zone goes with --cron")
    options = fields(
        cron=cron,
        every_seconds=every,
        time_zone=time_zone,
        overlap=str(overlap),
        paused=paused or None,
        note=note,
    )
    body = read(file, "fanfold schedules create")
    with connected(url) as fanfold:
        made = fanfold.create_schedule(name, body, **cast("ScheduleOptions", options))
        _show(made, as_json=as_json)


@app.command()
def get(name: Name, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show a schedule, with its last runs."""
    with connected(url) as fanfold:
        _show(fanfold.schedule(name), as_json=as_json)


@app.command()
def pause(name: Name, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a schedule submit nothing until it is resumed."""
    with connected(url) as fanfold:
        _show(fanfold.pause_schedule(name), as_json=as_json)


@app.command()
def resume(name: Name, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused schedule go on, from its next time on."""
    with connected(url) as fanfold:
        _show(fanfold.resume_schedule(name), as_json=as_json)


@app.command()
def run(name: Name, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Submit the job of a schedule now."""
    with connected(url) as fanfold:
        _show(fanfold.run_schedule(name), as_json=as_json)


@app.command()
def delete(name: Name, *, url: Url = DEFAULT_URL) -> None:
    """Delete a schedule; its jobs are kept, and one that runs goes on."""
    with connected(url) as fanfold:
        fanfold.delete_schedule(name)


def _show(schedule: "Schedule", *, as_json: bool) -> None:
    from fanfold.cli import output, tables

    if as_json:
        output.print_objects([schedule])
    else:
        tables.print_schedule(schedule)
