"""A worker's side of `/-/`: check who asks, and hand the request to the recorder over its unix socket."""

import hmac
import io
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.server.admin.pages import problem

# What the recorder's answer says of its body, and of what may be asked.
_PASSED_ON = ("Content-Type", "Allow")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What the recorder hears of the request's head: the format of the metrics.
_ASKED_ON = ("Accept",)
_HEALTH_SECONDS = 1.0
_PAGE_SECONDS = 120.0


class Admin:
    """Our own pages. `token` None: anyone who reaches us by a loopback name may read them."""

    def __init__(self, socket: Path, token: str | None, health: Callable[[], dict[str, Any]]) -> None:
        self._socket = socket
        self.token = token
        self._health = health
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to the recorder."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a page below /-/."""
        refused = self._refuse(request)
        if request.path == "/-/health":
            return await self._show_health(told=refused is None)
        if refused is not None:
            return refused
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            return problem(413, error.text or "the body is too large")
        try:
            async with self._recorder().request(
                request.method,
                f"http://recorder{request.raw_path}",
                data=io.BytesIO(body) if body else None,  # of bytes it warns where there are many
                headers={name: request.headers[name] for name in _ASKED_ON if name in request.headers},
                timeout=_seconds(_PAGE_SECONDS),
            ) as answer:
                headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return problem(503, "the recorder is not answering (it may be starting again); try once more")

    async def _show_health(self, *, told: bool) -> web.Response:
        """Say how we are. The proxy works without its recorder, so that is no failure of ours.

        `told`: whether who asks may read our other pages too; else files and paths are not named.
        """
        health = self._health()
        config = health.get("config")
        if config and config["error"] and not told:
            health["config"] = {**config, "error": "see the gateway's log"}
        try:
            async with self._recorder().get("http://recorder/-/health", timeout=_seconds(_HEALTH_SECONDS)) as answer:
                health["recorder"] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            health["recorder"] = None
            health["status"] = "degraded"
        return web.json_response(health)

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.token is not None:
            given = (request.headers.get("Authorization", "").removeprefix("Bearer "), _own_token(request))
            if not any(hmac.compare_digest(_raw(each), _raw(self.token)) for each in given):
                return problem(401, "this page needs the header Authorization: Bearer TOKEN (setting: $.auth.token)")
            return None
        # A page of somebody else's in a browser here may reach us under a name of its own (DNS rebinding), or send
        # a form; both are refused by what such a request cannot forge.
        if not _is_local(request.host):
            return problem(403, f"pages below /-/ are served under a loopback name only, not {request.host!r}")
        if request.method in _READING:
            return None
        if request.content_type != "application/json":
            return problem(415, "send JSON, with Content-Type: application/json")
        # With that a browser asks first whether it may (a preflight), and nobody says so; this is the second lock.
        if request.headers.get("Origin", _origin(request)) != _origin(request):
            return problem(403, "a web page of another origin may not ask for this")
        return None

    def _recorder(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._socket)))
        return self._session


def _origin(request: web.Request) -> str:
    """Return the origin of a page of our own."""
    return f"http://{request.host}"


def _own_token(request: web.Request) -> str:
    return request.headers.get("x-gateway-token", "")


def _raw(text: str) -> bytes:
    """Return a header's bytes, which may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine by a name that no DNS server can give to another one."""
    name, _, port = host.rpartition(":")
    if not port.isdecimal():
        name = host
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return name.lower().removesuffix(".") == "localhost"


def _seconds(total: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total)
