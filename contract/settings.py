"""Settings, read from the environment once, in each process's composition root.

Every name starts with FANFOLD_ but those of the Temporal connection, which are
Temporal's own standard names (`fanfold.contract.temporal`). docs/settings.md lists them all,
and a test holds the two together.
"""

import os
import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024

EXIT_BAD_SETTINGS = 2
"""Exit code of a process whose settings are wrong: starting it again would not help."""

MAX_RETENTION_HOURS = 876_000
"""A hundred years."""
RetentionHours = Annotated[
    float,
    Field(
        gt=0,
        le=MAX_RETENTION_HOURS,
        description="How long finished jobs are kept, in hours; then they are deleted.",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


_ALLOWED_HOST = r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[?[0-9a-f:.]+\]?"


class InvalidSettings(Exception):
    """A setting is wrong; the message names the environment variable and says why."""


class LedgerSettings(BaseSettings):
    """Where the data lives; every process has these."""

    model_config = SettingsConfigDict(env_prefix="FANFOLD_", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path(".fanfold"), description="Directory of everything that `fanfold up` keeps."
    )
    require_ledger_url: bool = Field(
        default=False,
        description="Refuse to start without FANFOLD_LEDGER_URL; the images set it.",
    )
    ledger_url: str = Field(
        default="",
        pattern=r"^($|sqlite:///.+|postgres(ql)?://.+)",
        validate_default=True,
        description=(
            "Where jobs, chunks and results are kept: `sqlite:///path` or `postgresql://...`. "
            "Empty: `ledger.db` in the data directory."
        ),
    )

    @field_validator("ledger_url")
    @classmethod
    def _given_where_required(cls, value: str, info: ValidationInfo) -> str:
        # A container without it would work on a file of its own, and take the jobs of others
        # for lost: it finds their tasks in Temporal, and nothing of them in its ledger.
        if not value and info.data.get("require_ledger_url"):
            message = "must be set here (FANFOLD_REQUIRE_LEDGER_URL), e.g. postgresql://..."
            raise PydanticCustomError("missing_ledger_url", message)
        return value

    @property
    def ledger(self) -> str:
        """The ledger's URL, with the default filled in."""
        return self.ledger_url or f"sqlite:///{self.data_dir / 'ledger.db'}"


class HttpSettings(LedgerSettings):
    """Where the gateway is found."""

    http_host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    http_port: Port = Field(default=8000, description="Port the gateway listens on.")


class ResultSettings(LedgerSettings):
    """What a result of a chunk may be, whether a processor gives it or a client."""

    max_chunk_result_bytes: int = Field(
        default=8 * MIB, ge=1, description="Largest result of one chunk, in bytes of JSON text."
    )


class IntakeSettings(LedgerSettings):
    """What a job may be, whoever takes it. Limits are inclusive; past one it is refused."""

    max_items: int = Field(default=10_000_000, ge=1, description="Most items in one job.")
    max_chunks: int = Field(default=1_000_000, ge=1, description="Most chunks in one job.")
    max_item_bytes: int = Field(
        default=1 * MIB, ge=1, description="Largest item, in bytes of JSON text."
    )
    max_nesting_depth: int = Field(
        default=64, ge=1, le=200, description="Deepest nesting of arrays and objects in an item."
    )
    max_labels: int = Field(default=16, ge=0, description="Most labels on one job.")
    max_jobs_a_level: int = Field(
        default=1000, ge=1, description="Most jobs side by side that one job is made of."
    )
    max_job_depth: int = Field(
        default=5, ge=0, le=50, description="Most levels of jobs below a job; 0 for none."
    )
    max_jobs_in_tree: int = Field(
        default=10_000, ge=1, description="Most jobs that one job is made of in all."
    )
    retention_hours: RetentionHours = 168.0


class SubmissionSettings(IntakeSettings):
    """How jobs are taken and started, by the gateway or by `SubmitJob`."""

    submit_queue: str = Field(
        default="fanfold-jobs",
        min_length=1,
        max_length=200,
        description=(
            "Task queue of the workflow `SubmitJob`; ledgers in one namespace of Temporal need one "
            "each."
        ),
    )
    max_running_jobs: int = Field(
        default=30,
        ge=1,
        description="Most jobs that run at a time, over all gateways; the rest wait as `pending`.",
    )
    temporal_ui_url: str | None = Field(
        default=None,
        description="Address of Temporal's web UI, for the `temporal_ui` link of a job.",
    )


class GatewaySettings(ResultSettings, SubmissionSettings, HttpSettings):
    """Settings of the gateway."""

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Names the gateway answers for besides localhost and addresses, comma-separated: "
            "`jobs.example.com`, `*.example.com`, or `*` for all."
        ),
    )
    max_body_bytes: int = Field(
        default=32 * MIB, ge=1, description="Largest request body, in bytes."
    )
    max_upload_bytes: int = Field(
        default=4096 * MIB,
        ge=1,
        description="Most data in one upload, in bytes before compression.",
    )
    body_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description=(
            "Longest time a client may take to send a body; of an upload, to send the next piece."
        ),
    )
    seal_timeout_seconds: float = Field(
        default=86_400.0,
        gt=0,
        description="A job that waits for its data, and got none for so long, is closed.",
    )
    reconcile_interval_seconds: float = Field(
        default=2.0,
        gt=0,
        description=(
            "How often the gateway looks for jobs to start, to cancel, or closed outside Fanfold, "
            "and for what is to be deleted."
        ),
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(_ALLOWED_HOST, name, re.IGNORECASE) for name in names):
            message = "must be names of hosts, without scheme, port or path, comma-separated"
            raise PydanticCustomError("not_hosts", message)
        return names


class WorkerSettings(SubmissionSettings, ResultSettings):
    """Settings of one worker process."""

    processors: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Your own processors and reducers: `package.module:name`, comma-separated.",
    )
    worker_slots: int = Field(
        default=50, ge=1, description="Most chunks one worker process runs at a time."
    )
    max_job_result_bytes: int = Field(
        default=32 * MIB, ge=1, description="Largest folded result, in bytes of JSON text."
    )
    keep_tracebacks: bool = Field(
        default=True,
        description="Keep where user code failed with each failed attempt; error texts are kept.",
    )
    shutdown_grace_seconds: float = Field(
        default=4.0,
        ge=0,
        description=(
            "How long a stopping worker lets running chunks finish before it hands them back."
        ),
    )
    workflow_sandbox: bool = Field(
        default=False,
        description="Run workflows in the SDK's sandbox, which doubles their cost; for tests.",
    )

    @field_validator("processors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class StackSettings(HttpSettings):
    """Settings of `fanfold up`, which runs everything on one machine."""

    temporal_port: Port = Field(default=7233, description="Port of the Temporal server.")
    temporal_ui_port: Port = Field(default=8233, description="Port of Temporal's web UI.")
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Worker processes; by default one a core.",
    )
    retention_hours: RetentionHours = 168.0


def _parts(value: object) -> object:
    """The parts of a text between commas, without empty ones."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


AnySettings = TypeVar("AnySettings", bound=LedgerSettings)


def load(kind: type[AnySettings]) -> AnySettings:
    """The settings of this process, from its environment.

    Raises InvalidSettings, with one line for a person, where one does not fit.
    """
    try:
        return kind()
    except ValidationError as error:
        faults = [
            f"FANFOLD_{'_'.join(map(str, fault['loc'][:1])).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise InvalidSettings("; ".join(faults)) from None
