"""A worker's log lines say which attempt they are about, and leave request logs out."""

import asyncio
import logging
import re
import subprocess
import sys

from fanfold.contract.names import JobId
from fanfold.workers import logs
from fanfold.workers.threads import run_in_thread

JOB = JobId("job_1")
USER_LOG = logging.getLogger("user")


def work() -> None:
    USER_LOG.info("working", extra={"job": "of the user's own"})


async def both_ways(chunk: int) -> None:
    with logs.running(JOB, chunk=chunk, stage=1, attempt=2):
        USER_LOG.info("begun")
        await run_in_thread(work, timeout_seconds=30)
        await asyncio.create_task(asyncio.to_thread(work))


async def several_at_once() -> None:
    USER_LOG.info("before")
    await asyncio.gather(both_ways(7), both_ways(8))
    await run_in_thread(work, timeout_seconds=30)


def logged_by(code: str) -> list[str]:
    """The lines that a process writes which has set up its log as a worker does."""
    done = subprocess.run(
        [sys.executable, "-c", f"from fanfold.workers import logs; logs.configure(); {code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr.splitlines()


def test_every_line_of_an_attempt_names_it_and_no_other_line_does() -> None:
    lines = logged_by(
        "import asyncio; from tests.unit.test_worker_logs import several_at_once; "
        "asyncio.run(several_at_once())"
    )

    date = re.compile(r"^\S+ [\d:,]+ ")
    assert all(date.match(line) for line in lines)
    said = [date.sub("", line) for line in lines]
    of_7, of_8 = (f"INFO user job=job_1 chunk={chunk} stage=1 attempt=2" for chunk in (7, 8))
    assert said[0] == "INFO user before"
    assert said[-1] == "INFO user working"
    assert sorted(said[1:-1]) == sorted(
        [f"{of_7} begun", f"{of_8} begun", *[f"{of_7} working"] * 2, *[f"{of_8} working"] * 2]
    )


def test_request_logs_are_heard_from_warnings_on_and_user_logs_from_info() -> None:
    lines = logged_by(
        "import logging; [log(name) for name in "
        "('user', 'httpx', 'urllib3.connectionpool', 'azure.core.pipeline') "
        "for log in (logging.getLogger(name).info, logging.getLogger(name).warning)]"
    )

    assert [line.split()[2:4] for line in lines] == [
        ["INFO", "user"],
        ["WARNING", "user"],
        ["WARNING", "httpx"],
        ["WARNING", "urllib3.connectionpool"],
        ["WARNING", "azure.core.pipeline"],
    ]


def test_a_module_of_the_user_s_may_bring_request_logs_back() -> None:
    lines = logged_by(
        "import logging; log = logging.getLogger('httpx'); log.setLevel('INFO'); log.info('sent')"
    )

    assert [line.split()[2:] for line in lines] == [["INFO", "httpx", "sent"]]
