"""A worker's log: every line says which attempt it is about, those of user code included."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fanfold.contract.names import JobId

_FORMAT = "%(asctime)s %(levelname)s %(name)s%(running)s %(message)s"

# Libraries that tell of every request at INFO, or of every access: a line a call, or
# several, where a job makes millions. Who wants them sets the level back in a module of his own.
CHATTY = (
    "aiohttp.access",
    "anthropic",
    "azure",
    "boto3",
    "botocore",
    "elastic_transport",
    "google",
    "httpcore",
    "httpx",
    "msal",
    "openai",
    "s3transfer",
    "snowflake.connector",
    "stripe",
    "twilio.http_client",
    "urllib3",
)

_running: ContextVar[str] = ContextVar("running", default="")


@contextmanager
def running(job_id: JobId, *, chunk: int, stage: int, attempt: int) -> Iterator[None]:
    """Put job, chunk, stage and attempt onto every line that is logged in the block.

    In the tasks that start in it, too, and in what `run_in_thread` runs.
    """
    token = _running.set(f" job={job_id} chunk={chunk} stage={stage} attempt={attempt}")
    try:
        yield
    finally:
        _running.reset(token)


class NameAttempt(logging.Filter):
    """Gives each record `running`: the attempt that it is about, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        # One name only, and on the way out only: user code may give `job` as an extra.
        record.running = _running.get()
        return True


def configure() -> None:
    """Set up the log of this process: to standard error, from INFO on."""
    handler = logging.StreamHandler()
    handler.addFilter(NameAttempt())
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
