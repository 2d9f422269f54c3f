"""The command line as a whole, and the commands that run Fanfold's processes."""

import asyncio
import sys
from typing import Annotated

import typer

from fanfold.cli import catalog, jobs, outcomes, repair, schedules, steering, submitting, trees
from fanfold.cli.connection import die
from fanfold.cli.exits import Exit

app = typer.Typer(pretty_exceptions_enable=False)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from fanfold.contract.version import VERSION

        sys.stdout.write(f"fanfold {VERSION}\n")
        raise typer.Exit


@app.callback()
def whole(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Durable batch jobs: fan out into chunks on Temporal, fold the results back in."""


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
        die(Exit.USAGE, f"fanfold up: {error}")


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


for commands in (submitting, jobs, trees, steering, outcomes, repair, catalog):
    app.add_typer(commands.app)
app.add_typer(schedules.app, name="schedules")


def main() -> None:
    """Run the command line; a mistake in it is told in one line."""
    if not sys.argv[1:]:
        sys.argv.append("--help")
    try:
        code = app(prog_name="fanfold", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "fanfold"
        # Where the value of an option is none of its choices, typer says what Python raised.
        message = error.format_message().replace(": Value error, ", ": ")
        sys.stderr.write(f"{command}: {message} ({command} --help says more)\n")
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
