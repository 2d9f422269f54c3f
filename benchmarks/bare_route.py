"""A bare FastAPI route with an answer of a job's shape, as a process of its own.

`python -m benchmarks.bare_route PORT FILE`: one uvicorn process, set up as
the gateway's. The job of the file is read once and kept as a model, so the route costs
what FastAPI, pydantic and uvicorn cost, and nothing else.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fanfold.answers.views import JobView


def create_app(job: JobView) -> FastAPI:
    """An app with the one route."""
    app = FastAPI()

    @app.get("/jobs/{job_id}")
    async def get_job(job_id: str) -> JobView:  # noqa: ARG001 - every id gives the one job
        return job

    return app


if __name__ == "__main__":
    _port, _file = sys.argv[1:]
    _job = JobView.model_validate_json(Path(_file).read_bytes())
    uvicorn.run(create_app(_job), port=int(_port), access_log=False, log_config=None)
