"""The composition root of the gateway: `python -m fanfold.app.main`, or `fanfold gateway`."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from fanfold.app.answers.rendered import RenderedJobs
from fanfold.app.documentation import openapi, swagger_ui
from fanfold.app.http import problems
from fanfold.app.http.hosts import AllowedHosts
from fanfold.app.http.parameters import only_known_parameters
from fanfold.app.http.protection import Protection
from fanfold.app.http.serving import Server
from fanfold.app.intake.uploads import Uploads
from fanfold.app.loops.housekeeping import Housekeeping
from fanfold.app.loops.orchestration import Orchestration
from fanfold.app.routes import (
    attempts,
    catalog,
    children,
    failures,
    health,
    items,
    job_lists,
    jobs,
    redrives,
    schedules,
    steering,
)
from fanfold.app.services import Services
from fanfold.app.temporal.schedules import Schedules
from fanfold.contract import settings, temporal
from fanfold.contract.json_values import allow_long_integers
from fanfold.contract.version import VERSION
from fanfold.ledger.connect import check, connect
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable


def create_app(given: settings.GatewaySettings, stopping: asyncio.Event) -> FastAPI:
    """The gateway as an ASGI app; its lifespan opens the ledger and runs the loops.

    Once `stopping` is set, requests no longer wait for jobs to finish.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Lazy: jobs are taken while Temporal is down, and started once it is back.
        client = await temporal.connect(lazy=True)
        async with connect(given.ledger) as ledger:
            orchestration = Orchestration(
                client,
                ledger,
                max_running_jobs=given.max_running_jobs,
                interval_seconds=given.reconcile_interval_seconds,
            )
            uploads = Uploads(given)
            housekeeping = Housekeeping(
                ledger,
                retention_hours=given.retention_hours,
                seal_timeout_seconds=given.seal_timeout_seconds,
                body_timeout_seconds=given.body_timeout_seconds,
                interval_seconds=given.reconcile_interval_seconds,
            )
            app.state.services = Services(
                settings=given,
                ledger=ledger,
                orchestration=orchestration,
                housekeeping=housekeeping,
                schedules=Schedules(client, ledger.id, given.submit_queue),
                uploads=uploads,
                rendered=RenderedJobs(),
                stopping=stopping,
                workflows_url=temporal.workflows_url(given.temporal_ui_url, client),
            )
            # Objects made so far stay. Scanning them for garbage again and again would delay
            # requests by tens of milliseconds.
            gc.freeze()
            loops = [asyncio.create_task(loop.run()) for loop in (orchestration, housekeeping)]
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()
                await asyncio.wait(loops)
                await uploads.close()

    app = FastAPI(
        title="Fanfold",
        version=VERSION,
        summary="Durable batch jobs: fan out into chunks, fold the results back in.",
        description=(
            "Submit a job with `POST /jobs`, poll it at `GET /jobs/{id}`, "
            "cancel it with `DELETE /jobs/{id}`."
        ),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for routes in (
        jobs,
        job_lists,
        steering,
        redrives,
        items,
        children,
        attempts,
        failures,
        schedules,
        catalog,
        health,
    ):
        app.include_router(routes.router, dependencies=[Depends(only_known_parameters)])
    problems.install(app)
    openapi.install(app)
    swagger_ui.install(app)
    return app


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    allow_long_integers()
    try:
        given = settings.load(settings.GatewaySettings)
        asyncio.run(check(given.ledger))  # here, where what is wrong with it is one clear line
        stopping = asyncio.Event()
        app = Protection(
            create_app(given, stopping), AllowedHosts(given.http_host, given.allowed_hosts)
        )
        server = Server(app, host=given.http_host, port=given.http_port, stopping=stopping)
        # uvicorn raises the signal again once it has stopped; without a handler of our own
        # a clean stop would look like a crash.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        server.run()
    except settings.InvalidSettings as error:
        sys.stderr.write(f"fanfold gateway: {error}\n")
        return settings.EXIT_BAD_SETTINGS
    except (LedgerUnavailable, LedgerFailure) as error:
        sys.stderr.write(f"fanfold gateway: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
