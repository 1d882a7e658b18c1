"""`/docs` and `/openapi.json` of an application that is the service alone; `/asyncapi.json` wherever it is served.

`python -m realtime.web.descriptions.descriptions` prints the JSON Schema of all frames, which is
docs/protocol.schema.json. Every file comes from this machine.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse

from realtime.core.wire.schema import protocol_schema
from realtime.errors import NotFoundError
from realtime.web.descriptions.asyncapi import asyncapi
from realtime.web.entrance.problems import ProblemRoute
from realtime.web.pages import HEADERS

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


router = APIRouter(route_class=ProblemRoute, include_in_schema=False)
_ASYNCAPI = "/asyncapi.json"


@router.get(_ASYNCAPI)
async def frames(request: Request) -> JSONResponse:
    """The WebSocket's frames as AsyncAPI 3, with the address by which this was asked for."""
    url = request.url
    document = asyncapi(url.netloc, url.path.removesuffix(_ASYNCAPI), secure=url.scheme == "https")
    return JSONResponse(document, headers={"Cache-Control": "no-cache"})


def protocol_schema_text() -> str:
    """What docs/protocol.schema.json holds."""
    return json.dumps(protocol_schema(), indent=2, ensure_ascii=False) + "\n"


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


if __name__ == "__main__":
    sys.stdout.write(protocol_schema_text())
