"""What the tests of jobs made of jobs share: bodies, and what becomes of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fanfold.contract.job_spec import JobSpec
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import InvalidJob
from fanfold.intake.job_text import decode_job
from fanfold.intake.preparing import PreparedJob, prepare
from fanfold.intake.published import PublishedCode
from fanfold.ledger.catalog import Kind, Published
from fanfold.ledger.recording import NewSubJob
from fanfold.workers.registry import Registry

LIMITS = GatewaySettings()
_ENTRIES = Registry().entries()
CODE = PublishedCode(
    Published({entry.name: entry for entry in _ENTRIES[Kind.PROCESSOR]}),
    Published({entry.name: entry for entry in _ENTRIES[Kind.REDUCER]}),
)
LEAF: dict[str, Any] = {"items": [1]}


def limits(**changed: int) -> GatewaySettings:
    return LIMITS.model_copy(update=changed)


def prepared(
    document: dict[str, Any], within: GatewaySettings = LIMITS, code: PublishedCode = CODE
) -> PreparedJob:
    return prepare(decode_job(json.dumps(document).encode()), within, code)


def below(job: PreparedJob | NewSubJob, path: str = "") -> Iterator[tuple[str, NewSubJob]]:
    """Every job below this one, by its path."""
    for one in job.jobs:
        place = f"{path}/{one.name}" if path else one.name
        yield place, one
        yield from below(one, place)


def leaf(document: dict[str, Any], path: str) -> NewSubJob:
    return dict(below(prepared(document)))[path]


def spec(document: dict[str, Any], path: str) -> JobSpec:
    return leaf(document, path).spec


def refusal(
    document: dict[str, Any], within: GatewaySettings = LIMITS, code: PublishedCode = CODE
) -> tuple[str, dict[str, str]]:
    """The code, and message by pointer."""
    with pytest.raises(InvalidJob) as refused:
        prepared(document, within, code)
    return refused.value.code, {fault.pointer: fault.message for fault in refused.value.errors}
