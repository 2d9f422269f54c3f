"""`fanfold submit`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanfold.cli.connection import connected, die
from fanfold.cli.exits import Exit
from fanfold.cli.items_input import STANDARD_INPUT, ItemsFormat, UnknownFormat, items_input
from fanfold.cli.jobs import see_to_the_end, show
from fanfold.cli.options import DEFAULT_URL, AsJson, Url
from fanfold.cli.whole_file import name_of, read

if TYPE_CHECKING:
    from fanfold import Fanfold, Job

# Any of these says what the job's data is.
_DATA = frozenset({"items", "chunks", "source", "jobs"})

app = typer.Typer()


@app.command()
def submit(
    file: Annotated[str, typer.Argument(help="A JSON file with the job; - reads standard input.")],
    *,
    wait: Annotated[bool, typer.Option(help="Wait for the end, with a progress bar.")] = True,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key, the same job.")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(help="A file with the items; - reads standard input.", metavar="FILE"),
    ] = None,
    items_format: Annotated[
        ItemsFormat | None,
        typer.Option(
            help="What the items are, where the name does not tell; standard input is NDJSON."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the job; nothing is submitted.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job."""
    if file == "-" and items == STANDARD_INPUT:
        die(Exit.USAGE, "fanfold submit: the job and its items cannot both be standard input")
    if dry_run and items is not None:
        die(Exit.USAGE, "fanfold submit: --dry-run checks a job with its items in it, not --items")
    if items is None and items_format is not None:
        die(Exit.USAGE, "fanfold submit: --items-format goes with --items, and there is none")
    body = read(file, "fanfold submit")
    if items is None:
        _refuse_without_items(body, name_of(file), wait=wait and not dry_run)
    with connected(url) as fanfold:
        if dry_run:
            _show_dry_run(fanfold, body, as_json=as_json)
            return
        try:
            if items is None:
                job = fanfold.submit(body, idempotency_key=key)
            else:
                job = _submit_items(fanfold, body, items, items_format, key)
        except KeyboardInterrupt:
            die(
                Exit.INTERRUPTED,
                "fanfold submit: interrupted before the gateway answered; `fanfold list` shows "
                "whether the job is there",
            )
        if wait:
            see_to_the_end(fanfold, job, url, as_json=as_json)
        else:
            show(job, url, as_json=as_json)


def _show_dry_run(fanfold: "Fanfold", body: bytes, *, as_json: bool) -> None:
    from fanfold.cli import output, tables

    found = fanfold.validate(body)
    if as_json:
        output.print_objects([found])
    else:
        tables.print_dry_run(found)


def _refuse_without_items(body: bytes, place: str, *, wait: bool) -> None:
    """End the command where this is a job that would never begin; the gateway judges the rest."""
    try:
        job = json.loads(body)
    except ValueError:
        return
    if not isinstance(job, dict):
        return
    if not _DATA & job.keys():
        die(
            Exit.USAGE,
            f"fanfold submit: the job in {place} has no items; give them with --items FILE, "
            "or with --items - from standard input",
        )
    if wait and job.get("source") == "upload":
        die(
            Exit.USAGE,
            f'fanfold submit: the job in {place} has "source": "upload", so it begins only once '
            "its items are sent; send them along with --items FILE, or submit it with --no-wait "
            "and send them in parts, with PUT /jobs/ID/items and then POST /jobs/ID/seal",
        )


def _submit_items(
    fanfold: "Fanfold", body: bytes, items: Path, items_format: ItemsFormat | None, key: str | None
) -> "Job":
    from fanfold.cli import output

    try:
        given = items_input(items, items_format)
        with output.sending(items) as on_progress:
            return fanfold.submit_file(
                body,
                given.items,
                file_name=given.file_name,
                idempotency_key=key,
                on_progress=on_progress,
            )
    except UnknownFormat as error:
        die(Exit.USAGE, f"fanfold submit: {error}")
    except OSError as error:
        die(Exit.USAGE, f"fanfold submit: {items}: {error.strerror}")
