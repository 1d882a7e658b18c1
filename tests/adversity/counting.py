"""`python -m tests.adversity.counting serve …` is `realtime serve …` with one more path, /counts: what it holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from realtime.app import create_app
from realtime.commands import cli, service


async def counts() -> dict[str, Any]:
    """Tasks, descriptors, and MiB of memory."""
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return {"tasks": len(asyncio.all_tasks()), "descriptors": descriptors, "memory": int(resident.split()[1]) / 1024}


def counted(*arguments: Any, **options: Any) -> FastAPI:
    """The service's application and that path, before any that takes all others."""
    app: FastAPI = create_app(*arguments, **options)
    app.router.routes.insert(0, APIRoute("/counts", counts))
    return app


if __name__ == "__main__":
    vars(service)["create_app"] = counted
    cli.main()
