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
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app.answers import views
from app.http.errors import ForeignOrigin, UnknownHost
from app.http.problems import ProblemView, responses
from app.intake.job_request import JobRequest

_ASSETS_AT = "/docs/assets"
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fanfold</title>
<link rel="stylesheet" href="{_ASSETS_AT}/swagger-ui.css">
<link rel="icon" href="{_ASSETS_AT}/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{_ASSETS_AT}/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# A file of its own, so that the page needs no script inside it. Without the validatorUrl
# the page asks swagger.io whether the document is valid.
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_PAGE_HEADERS = {
    # Scripts from here alone, and none within the page; Swagger UI sets styles of elements,
    # and has its icons in data: URLs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
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
        return HTMLResponse(_PAGE, headers=_PAGE_HEADERS)

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

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
        _add_what_is_answered_everywhere(document)
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
    """What app/http/protection.py answers before a route is looked for."""
    for path in document["paths"].values():
        for method, operation in path.items():
            added = responses(UnknownHost)
            if method != "get":
                added |= responses(ForeignOrigin)
            for status, response in added.items():
                operation["responses"][str(status)] = response


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
