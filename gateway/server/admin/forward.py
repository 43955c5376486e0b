"""A worker's side of `/-/`: authorize a request, and forward it to the recorder over its unix socket."""

import asyncio
import hmac
import io
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.errors import ExchangeError
from gateway.proxy.auth import is_cross_site, is_named
from gateway.proxy.headers import without_scheme
from gateway.server.admin.responses import problem

# Headers of the recorder's response that are relayed.
_RESPONSE_HEADERS = ("Content-Type", "Allow")
# Headers of the request that are forwarded: the format of the metrics.
_REQUEST_HEADERS = ("Accept",)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEALTH_SECONDS = 1.0
_PAGE_SECONDS = 120.0


class AdminForwarder:
    """Forwards admin requests. With `token` None, any client that uses a loopback name may read the pages.

    `health`: the worker's part of `/-/health`. `read`: reads the body of a request; raises ExchangeError.
    `origins`: those of pages that may use the admin pages too.
    """

    def __init__(
        self,
        socket: Path,
        token: str | None,
        health: Callable[[], dict[str, Any]],
        read: Callable[[web.Request], Awaitable[bytes]],
        origins: Collection[str] = (),
    ) -> None:
        self._socket = socket
        self.token = token
        self.origins = origins
        self._health = health
        self._read = read
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<AdminForwarder {self._socket} in flight: {len(self._tasks)}>"

    async def close(self) -> None:
        """Close the connections to the recorder."""
        if self._session is not None:
            await self._session.close()

    def cancel(self) -> None:
        """Cancel the requests in flight."""
        for task in self._tasks:
            task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a path under `/-/`."""
        task = asyncio.current_task()
        if task is not None and task not in self._tasks:  # one task handles all requests of a connection
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        refusal = self._refusal(request)
        if request.path == "/-/health":
            return await self._show_health(authorized=refusal is None)
        if refusal is not None:
            return refusal
        try:
            body = await self._read(request)
        except ExchangeError as error:
            return problem(error.status, error.message)
        try:
            async with self._recorder().request(
                request.method,
                f"http://recorder{request.raw_path}",
                data=io.BytesIO(body) if body else None,  # aiohttp warns about large bytes objects
                headers={name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers},
                timeout=_seconds(_PAGE_SECONDS),
            ) as answer:
                headers = {name: answer.headers[name] for name in _RESPONSE_HEADERS if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return problem(503, "the recorder does not answer (it may be restarting); try again")

    async def _show_health(self, *, authorized: bool) -> web.Response:
        """Answer with the health of worker and recorder; 200 without a recorder too, which the proxy does not need.

        `authorized`: whether the client may read the other pages; otherwise an error that names files is withheld.
        """
        health = self._health()
        config = health.get("config")
        if config and config["error"] and not authorized:
            health["config"] = {**config, "error": "see the gateway's log"}
        try:
            async with self._recorder().get("http://recorder/-/health", timeout=_seconds(_HEALTH_SECONDS)) as answer:
                health["recorder"] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            health["recorder"] = None
            health["status"] = "degraded"
        return web.json_response(health)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Return the response to a client that may not use the pages, None if it may.

        Without a token, a web page in a browser on this machine is the attacker. It could use a name of its own that
        resolves to a loopback address (DNS rebinding), or submit a form; neither can fake the headers checked here.
        """
        if self.token is not None:
            bearer = without_scheme(_raw(request.headers.get("Authorization", "")))
            given = (bearer, _raw(request.headers.get("x-gateway-token", "")))
            if not any(hmac.compare_digest(each, _raw(self.token)) for each in given):
                return problem(401, "this page needs the header Authorization: Bearer TOKEN (setting: $.auth.token)")
            return None
        if not _is_loopback(request.host):
            return problem(403, f"pages below /-/ are served under a loopback name only, not {request.host!r}")
        origin = request.headers.get("Origin")
        named = is_named(origin, self.origins)
        # An image of another site's page is a GET without an origin; each may start a process.
        if is_cross_site(request.headers.get("Sec-Fetch-Site")) and not named:
            return problem(403, "a web page of another site may not use pages below /-/ (setting: $.auth.origins)")
        if request.method in _SAFE_METHODS:
            return None
        # A browser sends this media type across origins only after a preflight request, which is refused.
        if request.content_type != "application/json":
            return problem(415, "send JSON, with Content-Type: application/json")
        # In case a browser skips the preflight.
        if origin not in {None, _origin(request)} and not named:
            return problem(403, "a web page of another origin may not send this request")
        return None

    def _recorder(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._socket)))
        return self._session


def _origin(request: web.Request) -> str:
    """Return the origin of the gateway's own pages, under the name that the client uses."""
    return f"http://{request.host}"


def _raw(text: str) -> bytes:
    """Return the bytes of a header, which need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _is_loopback(host: str) -> bool:
    """Whether a Host header is a loopback address or `localhost`, names that no DNS server can assign."""
    name, _, port = host.rpartition(":")
    if not port.isdecimal():
        name = host
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return name.lower().removesuffix(".") == "localhost"


def _seconds(total: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total)
