"""`/docs` and `/openapi.json` of an application that is the service alone. Every file comes from this machine."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, HTMLResponse, JSONResponse

from realtime.errors import NotFoundError
from realtime.web.pages import HEADERS
from realtime.web.problems import ProblemRoute

SWAGGER = Path(str(resources.files("fastapi_swagger") / "resources"))
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>realtime: HTTP interface</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="static/favicon.svg">
<link rel="stylesheet" href="swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger/swagger-ui-bundle.js"></script>
<script src="static/docs.js"></script>
</body>
</html>
"""
# Swagger UI sets styles inline; scripts stay the service's own.
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    ),
}


def descriptions(app: FastAPI) -> APIRouter:
    """The routes that describe `app`."""
    router = APIRouter(route_class=ProblemRoute, include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers=_HEADERS)

    @router.get("/swagger/{name}")
    async def swagger(name: str) -> FileResponse:
        if name not in _FILES:
            raise NotFoundError(f"no file {name[:100]!r}")
        return FileResponse(SWAGGER / name, headers=_HEADERS, media_type=_FILES[name])

    return router
