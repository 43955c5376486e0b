"""A worker's side of `/-/`: check who asks, and hand the request to the recorder over its unix socket."""

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.admin.pages import problem

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEALTH_SECONDS = 1.0
_PAGE_SECONDS = 120.0


class Admin:
    """Our own pages. `token` None: anyone who reaches us by a loopback name may read them."""

    def __init__(self, socket: Path, token: str | None, health: Callable[[], dict[str, Any]]) -> None:
        self._socket = socket
        self._token = token
        self._health = health
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to the recorder."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a page below /-/."""
        if request.path == "/-/health":
            return await self._show_health()
        refused = self._refuse(request)
        if refused is not None:
            return refused
        try:
            body = await request.read()
            async with self._recorder().request(
                request.method,
                f"http://recorder{request.raw_path}",
                data=body or None,
                timeout=_seconds(_PAGE_SECONDS),
            ) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return problem(503, "the recorder is not answering (it may be starting again); try once more")

    async def _show_health(self) -> web.Response:
        """Say how we are. The proxy works without its recorder, so that is no failure of ours."""
        health = self._health()
        try:
            async with self._recorder().get("http://recorder/-/health", timeout=_seconds(_HEALTH_SECONDS)) as answer:
                health["recorder"] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            health["recorder"] = None
            health["status"] = "degraded"
        return web.json_response(health)

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self._token is not None:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return problem(401, "this page needs the header Authorization: Bearer TOKEN (setting: $.auth.token)")
            return None
        # A page of somebody else's in a browser here may reach us under a name of its own (DNS rebinding), or send
        # a form; both are refused by what such a request cannot forge.
        host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
        if host not in _LOCAL_NAMES:
            return problem(403, f"pages below /-/ are served under a loopback name only, not {host!r}")
        if request.method == "POST" and request.content_type != "application/json":
            return problem(415, "send JSON, with Content-Type: application/json")
        return None

    def _recorder(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._socket)))
        return self._session


def _seconds(total: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total)
