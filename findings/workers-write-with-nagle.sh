#!/usr/bin/env bash
# uvicorn on asyncio: TCP_NODELAY is on with one process and off with several, for the same application.
source "$(dirname "$0")/shared/mongod.sh"
python_with uvicorn==0.38.0
cd "$folder"
cat >application.py <<'PY'
import asyncio
import gc
import socket


async def application(scope, receive, send):
    """Whether the connection of this request has TCP_NODELAY."""
    assert scope["type"] == "http"
    transports = [one for one in gc.get_objects() if isinstance(one, asyncio.Transport)]
    sockets = [one.get_extra_info("socket") for one in transports]
    mine = [one for one in sockets if one and one.family == socket.AF_INET and _peer(one) == tuple(scope["client"])]
    (own,) = {one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in mine}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(own).encode()})


def _peer(one):
    try:
        return one.getpeername()[:2]
    except OSError:
        return None
PY
"$python" <<'PY'
import os, socket, subprocess, sys, time, urllib.request
from finding import finding

def nodelay(*options):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = ["--lifespan", "off", "--loop", "asyncio", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen([sys.executable, "-m", "uvicorn", "application:application", *told, *options])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    return int(answer.read()) > 0
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit(2)
                time.sleep(0.1)
    finally:
        server.terminate()
        server.wait()

finding(
    "TCP_NODELAY of a connection to uvicorn: with --workers 1, with --workers 2",
    expected="(True, True)",
    noted=(True, False),
    seen=(nodelay("--workers", "1"), nodelay("--workers", "2")),
    packages=("uvicorn",),
)
PY
