"""The running gateway against its own OpenAPI document, with data that schemathesis makes up."""

from pathlib import Path
from typing import Any

import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

from fanfold.devstack.running import RunningStack

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
schema = schemathesis.openapi.from_dict(DOCUMENT)

NAMES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


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
    case.call_and_validate(base_url=stack.url, checks=checks, timeout=30)
