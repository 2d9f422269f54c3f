"""The OpenAPI document: FastAPI's own, corrected where it cannot know what is answered."""

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fanfold.answers import views
from fanfold.app.answers import children
from fanfold.app.answers.items import ItemPageView
from fanfold.app.answers.schedules import ScheduleView
from fanfold.app.documentation import problems
from fanfold.app.http.errors import ForeignOrigin, MalformedRequest, UnknownHost
from fanfold.app.http.problems import ProblemView, responses
from fanfold.app.intake.schedule_request import ScheduleRequest
from fanfold.app.intake.steering_request import JobPatch, RedriveRequest
from fanfold.intake.job_request import JobRequest

_REFERENCE = "#/components/schemas/{model}"
# Routes answer these as ready JSON text, so FastAPI does not see the models.
_REQUESTS = (JobRequest, JobPatch, RedriveRequest, ScheduleRequest)
_MODELS = (
    *_REQUESTS,
    ProblemView,
    views.JobView,
    views.ExtentView,
    children.ChildView,
    children.ChildPageView,
    ItemPageView,
    ScheduleView,
)


def install(app: FastAPI) -> None:
    """Have /openapi.json describe the models that FastAPI does not see."""
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = document["components"]["schemas"]
        for model in _MODELS:
            schema = model.model_json_schema(
                ref_template=_REFERENCE,
                mode="validation" if model in _REQUESTS else "serialization",
            )
            schemas.update(schema.pop("$defs", {}))
            schemas[schema["title"]] = schema
        _drop_what_is_not_answered(document)
        _add_what_is_answered_everywhere(document)
        problems.add_examples(document)
        _say_that_no_parameter_is_null(document)
        app.openapi_schema = _with_public_names(document)
    return app.openapi_schema


def _drop_what_is_not_answered(document: dict[str, Any]) -> None:
    """FastAPI announces a 422 of its own wherever there is a parameter; we answer 400 or 404."""
    for path in document["paths"].values():
        for operation in path.values():
            announced = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in announced:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _add_what_is_answered_everywhere(document: dict[str, Any]) -> None:
    """What app/http/protection.py and app/http/parameters.py answer, whatever the operation."""
    for path in document["paths"].values():
        for method, operation in path.items():
            added = responses(MalformedRequest, UnknownHost)
            if method != "get":
                added |= responses(ForeignOrigin)
            for status, response in added.items():
                operation["responses"][str(status)] = response


def _say_that_no_parameter_is_null(document: dict[str, Any]) -> None:
    """FastAPI lets optional ones be null, for which a query or header has no way to be said."""
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                choices = parameter["schema"].pop("anyOf", ())
                for choice in choices:
                    if choice != {"type": "null"}:
                        parameter["schema"] = choice | parameter["schema"]


def _with_public_names(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas by the names of what they describe: `Job`, not the class `JobView`."""
    text = json.dumps(document)
    renamed = re.sub(r'("#/components/schemas/\w+)View"', r'\1"', text)
    renamed = re.sub(r'("title": "\w+)View"', r'\1"', renamed)
    public: dict[str, Any] = json.loads(renamed)
    public["components"]["schemas"] = {
        name.removesuffix("View"): schema
        for name, schema in public["components"]["schemas"].items()
    }
    return public
