"""Swagger UI without a CDN, and the OpenAPI document.

The page's assets come from the pinned package `fastapi-offline`, of which only the
static files are used.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from app import views
from app.problems import ProblemView
from app.schemas import JobRequest

_ASSETS_AT = "/docs/assets"
_REFERENCE = "#/components/schemas/{model}"
# Answered as text made by hand, so FastAPI does not see their models.
_MODELS = (JobRequest, ProblemView, views.JobView, views.ChildView, views.ChildPageView)


def install(app: FastAPI) -> None:
    """Serve /docs and its assets, and describe the models that FastAPI does not see."""
    app.mount(_ASSETS_AT, StaticFiles(directory=_assets_directory()), name="docs-assets")

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Fanfold",
            swagger_js_url=f"{_ASSETS_AT}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS_AT}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS_AT}/favicon.png",
            # Without this the page asks swagger.io whether the document is valid.
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        )

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
                mode="validation" if model is JobRequest else "serialization",
            )
            schemas.update(schema.pop("$defs", {}))
            schemas[schema["title"]] = schema
        _drop_what_is_not_answered(document)
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


def _assets_directory() -> Path:
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline, which carries Swagger UI, is missing")
    return Path(spec.origin).parent / "static"
