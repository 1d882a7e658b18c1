"""Streams through a host's middleware: GZip, CORS and BaseHTTPMiddleware neither break nor hold them back."""

from __future__ import annotations

import json

from tests.embedding import embedded
from tests.serving import Service

__all__ = ["embedded"]


async def test_ndjson_passes_a_hosts_middleware_line_by_line(embedded: Service) -> None:
    embedded.database.orders.insert_many({"_id": n, "text": "x" * 1000} for n in range(20_000))
    headers = {"Accept": "application/x-ndjson", "Accept-Encoding": "gzip"}
    lines = []
    async with embedded.http.stream("GET", embedded.documents, headers=headers) as answer:
        assert (answer.status_code, answer.headers["x-shop"]) == (200, "seen")
        async for text in answer.aiter_lines():
            lines.append(json.loads(text))
    assert [line["_id"] for line in lines[:-1]] == list(range(20_000))
    assert lines[-1] == {"end": True}
