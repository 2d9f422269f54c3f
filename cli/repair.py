"""The commands that repair a job: failures, attempts, redrive, resolve."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanfold.cli.connection import connected, die
from fanfold.cli.exits import Exit
from fanfold.cli.jobs import see_to_the_end, show
from fanfold.cli.options import (
    DEFAULT_URL,
    AsJson,
    ChildIndex,
    Given,
    JobId,
    Output,
    Url,
    fields,
    in_json,
    number_above_0,
    states_of,
    whole_number,
)
from fanfold.contract.formats import ResultFormat

if TYPE_CHECKING:
    from fanfold import Fanfold, Job
    from fanfold.cli.corrections import Corrections

app = typer.Typer()


@app.command()
def failures(
    job_id: JobId,
    *,
    format_: Annotated[
        ResultFormat, typer.Option("--format", help="A line of JSON, or a row, an item.")
    ] = ResultFormat.NDJSON,
    values_only: Annotated[
        bool, typer.Option("--values-only", help="Only the items as they were submitted.")
    ] = False,
    output: Output = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Stream the items that failed, as they were submitted, with why."""
    from fanfold.cli.whole_file import write

    if values_only and format_ != ResultFormat.NDJSON:
        die(Exit.USAGE, "fanfold failures: --values-only gives NDJSON; leave --format out")
    with connected(url) as fanfold:
        if values_only:
            pieces = _values(fanfold, job_id)
        else:
            pieces = fanfold.failure_bytes(job_id, format=format_.value)
        write(pieces, output, "fanfold failures")


@app.command()
def attempts(
    job_id: JobId, index: ChildIndex, *, as_json: AsJson = False, url: Url = DEFAULT_URL
) -> None:
    """List the attempts at a child: all that failed, and the last one."""
    from fanfold.cli import output, tables

    with connected(url) as fanfold:
        found = fanfold.attempts(job_id, index)
        if as_json:
            output.print_objects(found.attempts)
        else:
            tables.print_attempts(found.attempts)
        if found.omitted:
            output.remark(f"{found.omitted} earlier attempts are not kept.")


@app.command()
def redrive(
    job_id: JobId,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only children in this state.", callback=states_of("ChildState")),
    ] = None,
    error_type: Annotated[
        list[str] | None, typer.Option(help="Only children with an error of this type.")
    ] = None,
    index: Annotated[
        list[int] | None,
        typer.Option(parser=whole_number(0), metavar="N", help="Only the child of this index."),
    ] = None,
    corrections: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Corrected items, as lines of `fanfold failures`; - reads standard input.",
        ),
    ] = None,
    processor: Annotated[str | None, typer.Option(help="Another processor.")] = None,
    options: Annotated[
        Given | None, typer.Option(parser=in_json, metavar="JSON", help="Other options.")
    ] = None,
    stages: Annotated[
        Given | None, typer.Option(parser=in_json, metavar="JSON", help="Other stages.")
    ] = None,
    retry: Annotated[
        Given | None, typer.Option(parser=in_json, metavar="JSON", help="Other retries.")
    ] = None,
    chunk_timeout: Annotated[
        float | None,
        typer.Option(parser=number_above_0, metavar="SECONDS", help="Another time limit."),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="N", help="Most chunks at a time."),
    ] = None,
    max_per_second: Annotated[
        float | None,
        typer.Option(parser=number_above_0, metavar="X", help="Most starts a second."),
    ] = None,
    tolerated_failures: Annotated[
        Given | None, typer.Option(parser=in_json, metavar="JSON", help="Another tolerance.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end, with a progress bar.")] = True,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key, the same run.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Run again what failed or was cancelled, or what a waiting job holds."""
    changes = fields(
        processor=processor,
        options=options,
        stages=stages,
        retry=retry,
        chunk_timeout_seconds=chunk_timeout,
        max_concurrency=max_concurrency,
        max_per_second=max_per_second,
        tolerated_failures=tolerated_failures,
    )
    with connected(url) as fanfold:
        corrected = None if corrections is None else _corrections(corrections)
        try:
            job = _redriven(
                fanfold,
                job_id,
                corrected,
                states=state or None,
                error_types=error_type or None,
                indexes=index or None,
                idempotency_key=key,
                **changes,
            )
        except KeyboardInterrupt:
            die(
                Exit.INTERRUPTED,
                "fanfold redrive: interrupted before the gateway answered; "
                f"`fanfold get {job_id}` shows whether the job runs again",
            )
        if wait:
            see_to_the_end(fanfold, job, url, as_json=as_json)
        else:
            show(job, url, as_json=as_json)


@app.command()
def resolve(
    job_id: JobId,
    index: ChildIndex,
    result: Annotated[
        str, typer.Argument(help="A JSON file with the result; - reads standard input.")
    ],
    *,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a held child its result by hand."""
    from fanfold.cli import output, tables
    from fanfold.cli.whole_file import name_of, read
    from fanfold.contract.json_values import InvalidJson, decode

    with connected(url) as fanfold:
        try:
            value = decode(read(result, "fanfold resolve"))
        except InvalidJson as error:
            die(Exit.USAGE, f"fanfold resolve: {name_of(result)}: not JSON: {error}")
        child = fanfold.resolve_child(job_id, index, value)
        if as_json:
            output.print_objects([child])
        else:
            tables.print_child(job_id, child)


def _values(fanfold: "Fanfold", job_id: str) -> Iterator[bytes]:
    for failed in fanfold.failures(job_id):
        yield json.dumps(failed.value, ensure_ascii=False).encode() + b"\n"


def _corrections(file: str) -> "Corrections":
    from fanfold.cli.corrections import InvalidCorrections, read_corrections
    from fanfold.cli.whole_file import name_of, read

    try:
        return read_corrections(read(file, "fanfold redrive"), name_of(file))
    except InvalidCorrections as error:
        die(Exit.USAGE, f"fanfold redrive: {error}")


def _redriven(
    fanfold: "Fanfold",
    job_id: str,
    corrections: "Corrections | None",
    **named: Any,  # noqa: ANN401 - as Fanfold.redrive has them
) -> "Job":
    from fanfold import Refused

    if corrections is None:
        return fanfold.redrive(job_id, **named)
    try:
        return fanfold.redrive(job_id, corrections=corrections.entries, **named)
    except Refused as refused:
        corrections.name_lines(refused)
        raise
