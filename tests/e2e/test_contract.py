"""The running gateway against its own OpenAPI document, with data that schemathesis makes up."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from fanfold.devstack.running import RunningStack
from tests.e2e.gateway_alone import Gateway, gateway_alone

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
schema = schemathesis.openapi.from_dict(DOCUMENT)
valid = schemathesis.openapi.from_dict(DOCUMENT)
valid.config.generation.update(modes=[GenerationMode.POSITIVE])

NAMES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]

# What a schema cannot say, so that a request that is valid by it may get it:
UNSAYABLE: Final = {
    "limit_exceeded": "limits are settings of the gateway, or of a chunk's size in bytes",
    "invalid_value": "integers that are too long, numbers that overflow",
    "idempotency_key_reused": "a key stands for one body",
    "invalid_cursor": "a cursor is one that the gateway gave",
    "child_not_found": "indexes end at the job's last chunk",
    "job_not_found": "the job that the test removes is gone",
    "job_already_finished": "what may be done with a job depends on its state",
    "job_not_finished": "the same",
    "job_receiving": "the same",
    "job_not_paused": "the same",
    "job_not_waiting": "the same",
    "job_changed": "an ETag is one that the gateway gave",
    "run_not_found": "runs end at the job's last one",
    "item_schema_unknown": "which items a processor takes is for the workers to say",
    "job_not_an_upload": "the same",
    "job_not_receiving": "the same",
    "schedule_exists": "a name is taken once",
    "schedule_not_found": "there is only what was made",
    "schedule_running": "what may be done with a schedule depends on its jobs",
    "invalid_schedule": "cron expressions and time zones are Temporal's and this machine's to know",
}
# Of those, what an `invalid_job` may say: by what a sub-job inherits, and its place in a sequence.
UNSAYABLE_OF_JOBS: Final = re.compile(
    r"^(?:/job)?/jobs/.* (?:there is none of them, (?:and no data|nor) in the jobs above"
    r"|goes with the data, which is given at"
    r"|the stages of the job above have options of their own"
    r"|goes with processor: there is none, nor in the jobs above"
    r'|hold_timeout_seconds goes with "on_failure": "hold"'
    r"|there is no job before the first one)"
    r"|goes to none of the jobs"
    r"|/when column \d+: ",  # a condition is in a language of its own
    re.DOTALL,
)
# Bodies that are text to the schema, in a format of its own:
UNSAYABLE_OF_TEXT: Final = {"malformed_json", "malformed_multipart", "invalid_item", "invalid_job"}


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_it_is(_context: Any, value: Any) -> bytes:
    """The bodies of these media types are texts to schemathesis."""
    return str(value).encode("utf-8", "surrogatepass")


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_gets_a_server_error_or_an_undocumented_answer(
    case: "schemathesis.Case[Any]", stack: RunningStack
) -> None:
    checks: list[Any] = CHECKS.get_by_names(NAMES)
    assert len(checks) == len(NAMES)
    if case.path == "/schedules" and isinstance(case.body, dict):
        case.body["paused"] = True  # or it would go on and on
    answer = case.call_and_validate(base_url=stack.url, checks=checks, timeout=30)
    if case.path == "/schedules" and answer.status_code == httpx.codes.CREATED:
        made = answer.headers["location"][0]  # other tests have schedules of the same names
        assert httpx.delete(f"{stack.url}{made}").status_code == httpx.codes.NO_CONTENT


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Without workers: no names of processors are known, so every one is taken."""
    with gateway_alone(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def receiving_job(gateway: Gateway) -> str:
    job = {"processor": "any_name", "source": "upload"}
    job_id: str = httpx.post(f"{gateway.url}/jobs", json=job).json()["id"]
    httpx.put(f"{gateway.url}/jobs/{job_id}/items?part=1", json=[1]).raise_for_status()
    return job_id


@valid.parametrize()
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_that_the_document_allows_is_refused(
    case: "schemathesis.Case[Any]", gateway: Gateway, receiving_job: str
) -> None:
    if "job_id" in case.path_parameters:
        case.path_parameters["job_id"] = receiving_job
    if "Prefer" in case.headers:
        case.headers["Prefer"] = "wait=0"  # nothing runs here, so the whole time would be waited
    case.query.pop("cursor", None)  # only the gateway makes them
    # No schema of one parameter speaks of another, and none of what comes before the colon.
    if case.query.get("format") != "csv":
        case.query.pop("columns", None)
    if case.query.get("purge") == "true":
        case.query.pop("drain", None)
    case.query["label"] = case.query.get("label", [])[:1]
    response = case.call(base_url=gateway.url, timeout=30)
    if 400 <= response.status_code < 500:
        problem = response.json()
        code, faults = problem["code"], problem.get("errors", [])
        is_text = case.media_type not in {None, "application/json"}
        is_of_jobs = code == "invalid_job" and all(
            UNSAYABLE_OF_JOBS.search(f"{fault['pointer']} {fault['message']}") for fault in faults
        )
        assert code in UNSAYABLE or is_of_jobs or (is_text and code in UNSAYABLE_OF_TEXT), problem
