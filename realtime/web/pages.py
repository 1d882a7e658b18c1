"""The page and its files, the browser client, health, metrics."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse

from realtime import metrics
from realtime.core.bson import ejson
from realtime.errors import NotFoundError, UnavailableError
from realtime.web.entrance.live import Current
from realtime.web.entrance.problems import ProblemRoute, problems

STATIC = Path(str(resources.files("realtime.web") / "static"))
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files change with the installed version; a revalidation costs nothing on the way to a page.
    "Cache-Control": "no-cache",
}
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

CLIENT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    # Any page may load the client, as from any other place of packages. Connecting with it is another matter.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_CLIENT_ENTRY = 'export * from "./static/realtime/realtime.js";\n'

router = APIRouter(route_class=ProblemRoute)
probes_router, bare_probes_router = APIRouter(route_class=ProblemRoute), APIRouter(route_class=ProblemRoute)
"""Alive and ready; the bare ones tell nothing of the database, for a port that everybody may reach."""
client_router = APIRouter(route_class=ProblemRoute)
"""What pages of every origin may load."""


@client_router.get("/realtime.js", include_in_schema=False)
async def client_entry() -> Response:
    """The browser client, at an address for people. Its own path is relative, so that any prefix is kept."""
    return Response(_CLIENT_ENTRY, media_type="text/javascript", headers=CLIENT_HEADERS)


@client_router.get("/static/realtime/{name}", include_in_schema=False)
async def client_file(name: str) -> FileResponse:
    """A module of the browser client."""
    return _file(STATIC / "realtime", name, CLIENT_HEADERS)


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return _file(STATIC, "index.html", HEADERS)


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> FileResponse:
    """A file of the page."""
    return _file(STATIC, name, HEADERS)


def _file(folder: Path, name: str, headers: dict[str, str]) -> FileResponse:
    # Only names that are there can be asked for, so no path leads anywhere else.
    found = next((file for file in folder.iterdir() if file.name == name and file.suffix in _TYPES), None)
    if found is None:
        raise NotFoundError(f"no file {name[:100]!r}")
    return FileResponse(found, headers=headers, media_type=_TYPES[found.suffix])


@bare_probes_router.get("/healthz", tags=["health"], summary="Alive")
@probes_router.get("/healthz", tags=["health"], summary="Alive")
async def healthz() -> Response:
    """200 while the process answers."""
    return Response(ejson.encode({"status": "alive"}), media_type="application/json")


@bare_probes_router.get("/readyz", tags=["health"], summary="Fit to serve", responses=problems(503))
async def bare_readyz(live: Current) -> Response:
    """200 while MongoDB can be served, 503 otherwise; why is told at the port of the operators."""
    if not live.ready:
        raise UnavailableError("the service is not fit to serve now", retry_after=2)
    return Response(ejson.encode({"status": "ready"}), media_type="application/json")


@probes_router.get("/readyz", tags=["health"], summary="Fit to serve", responses=problems(503))
async def readyz(live: Current) -> Response:
    """200 while MongoDB can be served, 30 s of `degraded` included, 240 s without a relay; 503 with the reason else."""
    details = live.details()
    if not live.ready:
        reason = "the service is stopping" if live.draining else details["reason"]
        raise UnavailableError(str(reason or "the service is starting or stopping"), retry_after=2, details=details)
    return Response(
        ejson.encode({"status": "ready", "position": live.hub.position, **details}), media_type="application/json"
    )


@router.get("/metrics", tags=["health"], summary="Prometheus metrics")
async def metrics_page() -> Response:
    """The instruments of this process."""
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
