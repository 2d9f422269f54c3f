"""The commands."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fanfold.cli.exits import BY_STATE, Exit
from fanfold.contract.formats import ResultFormat

if TYPE_CHECKING:
    from fanfold.client.http import Fanfold
    from fanfold.client.models import Job

app = typer.Typer(
    help="Durable batch jobs: fan out into chunks on Temporal, fold the results back in.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Url = Annotated[str, typer.Option(envvar="FANFOLD_URL", help="The gateway's base URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a line an object, for scripts.")]
JobId = Annotated[str, typer.Argument(help="A job's id.", show_default=False)]
DEFAULT_URL = "http://localhost:8000"


@app.command()
def up() -> None:
    """Run everything on this machine: Temporal with its web UI, workers, gateway."""
    import logging

    from fanfold.contract import settings
    from fanfold.devstack import stack
    from fanfold.ledger.database import LedgerFailure, LedgerUnavailable

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        given = settings.load(settings.StackSettings)

        def announce() -> None:
            sys.stdout.write(
                f"Fanfold is ready: http://localhost:{given.http_port}/docs  "
                f"Temporal's web UI: http://localhost:{given.temporal_ui_port}  "
                f"(Ctrl-C stops all; data stays in {given.data_dir})\n"
            )
            sys.stdout.flush()

        asyncio.run(stack.run(given, on_ready=announce))
    except (
        settings.InvalidSettings,
        stack.CannotStart,
        LedgerUnavailable,
        LedgerFailure,
    ) as error:
        _die(Exit.USAGE, f"fanfold up: {error}")


@app.command()
def demo() -> None:
    """Run a job over real data on a stack of its own, and one with failures; then stop it."""
    from fanfold.cli.demo import run_demo

    raise typer.Exit(run_demo())


@app.command()
def gateway() -> None:
    """Run the gateway alone."""
    from fanfold.app.main import main as run_gateway

    raise typer.Exit(run_gateway())


@app.command()
def worker() -> None:
    """Run one worker process alone."""
    from fanfold.workers.main import main as run_worker

    raise typer.Exit(run_worker())


@app.command()
def migrate() -> None:
    """Bring the ledger's tables up to date; gateway and worker do so by themselves too."""
    from fanfold.ledger.migrate import main as run_migrations

    raise typer.Exit(run_migrations())


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
        typer.Option(
            help="A file with the items: .ndjson, .jsonl, .csv or .json, also with .gz.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job."""
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        _die(Exit.USAGE, f"fanfold submit: {file}: {error.strerror}")
    with _connected(url) as fanfold:
        if items is None:
            job = fanfold.submit(body, idempotency_key=key)
        else:
            job = _submit_file(fanfold, body, items, key)
        if wait:
            _see_to_the_end(fanfold, job, url, as_json=as_json)
        else:
            _show(job, url, as_json=as_json)


@app.command()
def watch(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Watch a job to its end; the exit code says how it ended."""
    with _connected(url) as fanfold:
        _see_to_the_end(fanfold, fanfold.get(job_id), url, as_json=as_json)


@app.command(name="list")
def list_jobs(
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only jobs with name:value.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs shown.")] = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    from fanfold.cli import output

    labels = {name: value for name, _, value in (text.partition(":") for text in label or [])}
    with _connected(url) as fanfold:
        jobs = fanfold.jobs(state=state, labels=labels, limit=limit)
        if as_json:
            for job in jobs:
                output.print_json(job.model_dump(mode="json", exclude_unset=True))
        else:
            output.print_jobs(jobs)


@app.command()
def children(
    job_id: JobId,
    *,
    state: Annotated[str | None, typer.Option(help="Only children in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most children shown.")] = 1000,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List a job's children."""
    from fanfold.cli import output

    with _connected(url) as fanfold:
        found = fanfold.children(job_id, state=state, limit=limit)
        if as_json:
            for child in found:
                output.print_json(child.model_dump(mode="json", exclude_unset=True))
        else:
            output.print_children(found)


@app.command()
def results(
    job_id: JobId,
    *,
    state: Annotated[str | None, typer.Option(help="Only children in this state.")] = None,
    format_: Annotated[
        ResultFormat, typer.Option("--format", help="A line of JSON a child, or a row an item.")
    ] = ResultFormat.NDJSON,
    columns: Annotated[
        str | None, typer.Option(help="Of CSV: the fields to give, separated by commas.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A file to write to; it is there once it is whole.", dir_okay=False),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Stream the finished children's results, in index order."""
    from fanfold.cli.whole_file import writing

    with _connected(url) as fanfold:
        pieces = fanfold.result_bytes(
            job_id,
            state=state,
            format=format_.value,
            columns=columns.split(",") if columns else (),
        )
        try:
            with writing(output) as file:
                for piece in pieces:
                    file.write(piece)
        except BrokenPipeError:
            raise
        except OSError as error:
            _die(Exit.REFUSED, f"fanfold results: {output}: {error.strerror}")


@app.command()
def cancel(job_id: JobId, *, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Cancel a job; what has finished is kept."""
    with _connected(url) as fanfold:
        _show(fanfold.cancel(job_id), url, as_json=as_json)


@app.command()
def purge(job_id: JobId, *, url: Url = DEFAULT_URL) -> None:
    """Remove a finished job with all its data."""
    with _connected(url) as fanfold:
        fanfold.purge(job_id)


def _submit_file(fanfold: "Fanfold", body: bytes, items: Path, key: str | None) -> "Job":
    from fanfold.cli import output

    try:
        with output.sending(items) as on_progress:
            return fanfold.submit_file(body, items, idempotency_key=key, on_progress=on_progress)
    except OSError as error:
        _die(Exit.USAGE, f"fanfold submit: {items}: {error.strerror}")


def _see_to_the_end(fanfold: "Fanfold", job: "Job", url: str, *, as_json: bool) -> None:
    from fanfold.cli import output

    job = output.watch(fanfold, job)
    _show(job, url, as_json=as_json)
    raise typer.Exit(BY_STATE.get(job.state, Exit.FAILED))


def _show(job: "Job", url: str, *, as_json: bool) -> None:
    from fanfold.cli import output

    if as_json:
        output.print_json(job.model_dump(mode="json", exclude_unset=True))
    else:
        output.print_job(job, url)


@contextmanager
def _connected(url: str) -> Iterator["Fanfold"]:
    """A client, whose errors end the command with one line and an exit code."""
    from fanfold import Fanfold, Refused, Unreachable

    try:
        with Fanfold(url) as fanfold:
            yield fanfold
    except Unreachable as error:
        _die(Exit.UNREACHABLE, f"fanfold: {error}")
    except Refused as error:
        lines = [f"fanfold: {error.detail} ({error.code})"]
        lines += [f"  {fault['pointer'] or '/'}: {fault['message']}" for fault in error.errors]
        _die(Exit.REFUSED, "\n".join(lines))
    except BrokenPipeError:
        sys.stderr.close()  # the reader, `head` perhaps, has seen enough


def _die(code: Exit, message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
