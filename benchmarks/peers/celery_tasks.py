"""Celery's side: one task, broker and stored results in Redis, everything else by default."""

import os

from celery import Celery  # type: ignore[import-not-found] # in the peer's own environment

from benchmarks.peers.work import double

_REDIS = os.environ["BENCH_REDIS_URL"]

app = Celery("bench", broker=_REDIS, backend=_REDIS)
double_task = app.task(name="double")(double)
