"""Admin pages in tests: a recorder's pages on its socket, and requests for pages as a client sends them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.config.model import Sql
from gateway.server.data_dir import socket_path
from gateway.server.routes import recorder_app
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request

JSON = ("Content-Type", "application/json")


@asynccontextmanager
async def recording(data: Path, settings: Sql | None = None) -> AsyncIterator[None]:
    """Serve the admin pages of a data directory on its socket, as a recorder does."""
    runner = web.AppRunner(
        recorder_app(data, settings or Sql(), lambda: {"sealed": 3, "otlp": None}), handler_cancellation=True
    )
    await runner.setup()
    await web.UnixSite(runner, str(socket_path(data))).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def page(gateway: InProcess, method: str, path: str, *headers: Any, host: str = "localhost", body: Any = b""):
    """Request a page under a Host name; return the status and the JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    data = request(method, path, headers, raw).replace(b"Host: test", b"Host: " + host.encode())
    answer = await exchange(gateway.url, data)
    assert answer.values(b"Content-Type") == [b"application/json; charset=utf-8"] or answer.status == 200
    return answer.status, json.loads(answer.body) if answer.body else None


async def sql(gateway: InProcess, query: str, **more: Any) -> tuple[int, Any]:
    """Run a query."""
    return await page(gateway, "POST", "/-/sql", JSON, body={"sql": query, **more})
