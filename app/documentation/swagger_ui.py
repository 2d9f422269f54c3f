"""Swagger UI at /docs, without a CDN.

Its files come from the pinned package `fastapi-offline`; nothing else of it is used.
"""

import importlib.util
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

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
# Swagger UI takes for JSON whatever has these letters in its media type: of NDJSON it would show
# an answer under "can't parse JSON", and an example in quotes, with its line ends escaped.
_START = """const ndjsonAsText = ({React}) => ({
  afterLoad() {
    const sampleOf = this.fn.getSampleSchema;
    this.fn.getSampleSchema = (schema, mediaType, ...rest) =>
      sampleOf(schema, /ndjson/i.test(mediaType) ? "text/plain" : mediaType, ...rest);
  },
  wrapComponents: {
    responseBody: (ResponseBody) => (props) => React.createElement(
      ResponseBody,
      /ndjson/i.test(props.contentType) ? {...props, contentType: "text/plain"} : props,
    ),
  },
});
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [ndjsonAsText],
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


def install(app: FastAPI) -> None:
    """Serve /docs and its assets."""
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


def _assets_directory() -> Path:
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline, which carries Swagger UI, is missing")
    return Path(spec.origin).parent / "static"
