"""Debian's nginx on loopback, with the very snippet that docs/operations.md gives to operators."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ports import free_port

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
DOCUMENTED = ("127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003")
LISTEN = "listen 127.0.0.1:8080;"

AROUND = """
daemon off;
{user}
worker_processes 1;
error_log {directory}/error.log warn;
pid {directory}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{snippet}
}}
"""


def snippet() -> str:
    """The block of the page."""
    blocks = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "docs/operations.md has one block for nginx"
    return str(blocks[0])


STRIPPING = """
server {
    listen 127.0.0.1:8080;

    location /live/ {
        proxy_pass http://127.0.0.1:8001/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
    }
}
"""
"""A `proxy_pass` with a path of its own: nginx decodes the path, takes `//`, `.` and `..` out and encodes it anew."""


def stripping(directory: Path, port: int, replica: int) -> str:
    """A whole configuration of an nginx that serves under `/live/` and takes that away."""
    text = STRIPPING.replace(LISTEN, f"listen 127.0.0.1:{port};").replace(DOCUMENTED[0], f"127.0.0.1:{replica}")
    return around(directory, text)


def configuration(directory: Path, port: int, replicas: Sequence[int]) -> str:
    """A whole configuration: the page's block with these ports and nothing else changed."""
    text = snippet()
    for documented, replica in zip(DOCUMENTED, replicas, strict=True):
        assert text.count(documented) == 1, documented
        text = text.replace(documented, f"127.0.0.1:{replica}")
    assert text.count(LISTEN) == 1
    return around(directory, text.replace(LISTEN, f"listen 127.0.0.1:{port};"))


def around(directory: Path, text: str) -> str:
    """A server's block with all that nginx needs to run in a directory of a test."""
    # Root's workers would be somebody else, who may not write into a test's directory.
    user = "user root;" if os.geteuid() == 0 else ""
    return AROUND.format(user=user, directory=directory, snippet=text)


@asynccontextmanager
async def proxying(directory: Path, replicas: Sequence[int], *, strips: bool = False) -> AsyncIterator[str]:
    """nginx in front of these ports, or (`strips`) of the first one alone and under `/live`; its URL."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert binary is not None, "the tests need nginx: apt-get install nginx"
    port = free_port()
    directory.mkdir(exist_ok=True)
    file = directory / "nginx.conf"
    written = stripping(directory, port, replicas[0]) if strips else configuration(directory, port, replicas)
    file.write_text(written)
    process = await asyncio.create_subprocess_exec(binary, "-p", str(directory), "-c", str(file))
    try:
        async with asyncio.timeout(10):
            while not _listens(port):
                assert process.returncode is None, (directory / "error.log").read_text()
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
