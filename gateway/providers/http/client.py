"""The upstream client: one call sends a request on an idle or a new connection and returns the response.

It pools idle connections by origin, opens new ones and raises the network's errors as `WireError`; `connection` speaks
HTTP on them. Bytes are sent as given: headers keep order, case and duplicates, nothing is decompressed or followed.

It exists because the client is the largest cost of a relay. Per request, on the reference machine and with aiohttp's
server in front: 600 us of CPU with aiohttp's `ClientSession` (467 to 516 with every option that makes it faster),
152 us with this client on raw transports and a C parser. It also gives the times that a span needs (sent, first byte,
head) and bytes that are never changed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gateway.providers.http.connect import absolute, open_transport, refusal
from gateway.providers.http.connection import Connection
from gateway.providers.http.origin import Origin, authority
from gateway.providers.http.response import (
    BadResponse,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    Response,
    StaleConnection,
    WireError,
)
from gateway.providers.http.tls import TlsContexts
from gateway.providers.http.ways_out import DIRECT, Proxy, Way

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BadResponse",
    "Client",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "FirstByteTimeout",
    "IdleTimeout",
    "Origin",
    "Response",
    "StaleConnection",
    "WireError",
]

STALE_SECONDS: Final = 1.0
"""Seconds after a request within which the end of a reused connection means that it was closed before it."""

_FRAMING_LENGTHS: Final = frozenset(map(len, ("host", "content-length", "transfer-encoding")))
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


_Pool: TypeAlias = tuple[Origin, Way]


class Client:
    """The upstream connections of one event loop: unbounded in use, bounded when idle, the newest used first."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle_per_origin: int = 256,
        idle_seconds: float = 30.0,
    ) -> None:
        self._contexts = TlsContexts(ssl_context)
        self._max_idle = max_idle_per_origin
        self._idle_seconds = idle_seconds
        self._idle: dict[_Pool, list[Connection]] = {}
        self._connections: dict[Connection, _Pool] = {}
        self._closed = False

    async def send(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        connect_timeout: float,
        first_byte_timeout: float,
        way: Way = DIRECT,
    ) -> Response:
        """Send one request and return its response as soon as the final head is in.

        Host and Content-Length are added if missing. Raises WireError, and ValueError before anything is sent if
        the parts do not make one well-formed head. A cancelled call drops its connection. Nothing is sent twice: after
        StaleConnection the caller decides, and a next call makes a new connection.
        """
        forwarder = way.proxy if origin.scheme == "http" else None
        if forwarder is not None:
            target, own = absolute(origin, forwarder, target)
            headers = (*headers, *own)
        head = request_head(origin, method, target, headers, len(body))
        head_only = method == b"HEAD"
        connection = self._take_idle((origin, way))
        if connection is not None:
            began = time.monotonic()
            response = Response(connection, reused=True, connect_seconds=0.0)
            try:
                await connection.exchange(response, head, body, head_only, first_byte_timeout)
            except ConnectionClosed as error:
                if response.first_byte_at or self._closed:
                    raise
                # The newest one was used, so the others have been idle for longer, and are likely to be closed as well.
                self._drop_idle((origin, way))
                if time.monotonic() - began > STALE_SECONDS:
                    raise
                raise StaleConnection(f"{error} on a kept connection") from error
            return _of_upstream(response, origin, forwarder)
        began = time.monotonic()
        connection = await self._connect(origin, way, connect_timeout)
        response = Response(connection, reused=False, connect_seconds=time.monotonic() - began)
        await connection.exchange(response, head, body, head_only, first_byte_timeout)
        return _of_upstream(response, origin, forwarder)

    async def close(self) -> None:
        """Drop every connection, including those in use, and return once the sockets are closed."""
        self._closed = True
        for connection in list(self._connections):
            connection.fail(ConnectionClosed, "the client was closed")
        await asyncio.sleep(0)

    @property
    def connections(self) -> tuple[int, int]:
        """The number of connections, and how many of them are idle."""
        return len(self._connections), sum(map(len, self._idle.values()))

    def _take_idle(self, pool: _Pool) -> Connection | None:
        idle = self._idle.get(pool)
        while idle:
            connection = idle.pop()
            if not connection.hung_up:
                return connection
            connection.drop()
        return None

    def _drop_idle(self, pool: _Pool) -> None:
        for connection in self._idle.pop(pool, []):
            connection.drop()

    def _on_free(self, connection: Connection) -> None:
        idle = self._idle.setdefault(self._connections[connection], [])
        idle.append(connection)
        if len(idle) > self._max_idle:
            idle[0].drop()

    def _on_gone(self, connection: Connection) -> None:
        pool = self._connections.pop(connection, None)
        if pool is not None and connection in (idle := self._idle.get(pool, [])):
            idle.remove(connection)

    async def _connect(self, origin: Origin, way: Way, seconds: float) -> Connection:
        if self._closed:
            raise RuntimeError("the client is closed")
        peer = f"{origin}" if way.proxy is None else f"{origin} by the proxy {way.proxy.address}"
        connection = Connection(peer, self._idle_seconds, self._on_free, self._on_gone)
        secure = origin.scheme == "https" or (way.proxy is not None and way.proxy.secure)
        try:
            context = await self._contexts.of(way.tls) if secure else None
            async with asyncio.timeout(seconds):
                await open_transport(connection, origin, way, context)
        except TimeoutError as error:
            # The kernel's ETIMEDOUT is a TimeoutError too, and means the same.
            raise ConnectTimeout(f"{peer}: no connection within {seconds:g} s") from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{peer}: {error}", _connect_reason(error)) from error
        if self._closed:
            connection.drop()
            raise ConnectionClosed(f"{peer}: the client was closed")
        connection.keep_alive()
        self._connections[connection] = (origin, way)
        return connection

    def __repr__(self) -> str:
        connections, idle = self.connections
        return f"<Client {connections} connections, {idle} idle>"


def _of_upstream(response: Response, origin: Origin, forwarder: Proxy | None) -> Response:
    """Return the response of an upstream. Raises ConnectFailed for a proxy that wants credentials instead."""
    if forwarder is not None and response.status == 407:
        response.abort()
        raise refusal(origin, forwarder, 407)
    return response


def request_head(
    origin: Origin,
    method: bytes,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    length: int,
) -> bytes:
    """Return the request line and headers. Raises ValueError if they are not one head with one framing."""
    host = declared = None
    for name, value in headers:
        if len(name) not in _FRAMING_LENGTHS:
            continue  # this runs for every header of every request
        lowered = name.lower()
        if lowered == b"host":
            host = value
        elif lowered == b"content-length":
            if declared is not None or value != b"%d" % length:
                raise ValueError(f"content-length {value!r} for a body of {length} bytes")
            declared = value
        elif lowered == b"transfer-encoding":
            raise ValueError("transfer-encoding on a body that is sent whole")
    lines = [method + b" " + target + b" HTTP/1.1"]
    if host is None:
        lines.append(b"Host: " + authority(origin))
    lines += [b": ".join(header) for header in headers]
    if declared is None and (length or method in (b"POST", b"PUT", b"PATCH")):
        lines.append(b"Content-Length: %d" % length)
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    breaks = len(lines) + 1
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise ValueError("CR, LF or NUL in a method, target or header")
    if not method or method.translate(None, _TOKEN) or not target or b" " in target or b"\t" in target:
        raise ValueError(f"not a request line: {method!r} {target!r}")
    names = [name for name, _ in headers]
    if not all(names) or b"".join(names).translate(None, _TOKEN):
        raise ValueError("a header name that is not a token")
    return head


def _connect_reason(error: OSError | UnicodeError) -> Literal["dns", "refused", "tls", "network"]:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "dns"
    if isinstance(error, ssl.SSLError):
        return "tls"
    # asyncio joins the errors of several addresses into one text.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "refused"
    return "network"
