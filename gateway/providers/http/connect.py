"""Opening a connection: directly, or through a proxy by CONNECT (RFC 9110, section 9.3.6); TLS and probes at its end.

To `http://` upstreams a proxy gets requests in absolute form instead (RFC 9112, section 3.2.2), as from curl: many
proxies allow CONNECT to port 443 only.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, cast

from gateway.providers.http.origin import Origin, authority
from gateway.providers.http.response import ConnectFailed
from gateway.providers.http.ways_out import Proxy, Way

if TYPE_CHECKING:
    import ssl

SILENT_SECONDS: Final = 10
"""Seconds that sent bytes may stay unacknowledged: the peer is gone then, or a firewall drops the packets."""
STALLED_SECONDS: Final = 30
"""The same for a large body, of which a busy peer may not take more for a while; the kernel counts that likewise."""
# While nothing is sent: seconds until a first probe, between probes, and their number. Linux has all of these names.
_KEEP_ALIVE: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2))
    if hasattr(socket, name)
)
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)
_HEAD_BYTES: Final = 64 * 1024
# Statuses of a proxy that may pass; all others below 500 are about its settings, or ours.
_PASSING: Final = frozenset({408, 425, 429})


async def open_transport(protocol: asyncio.Protocol, origin: Origin, way: Way, context: ssl.SSLContext | None) -> None:
    """Connect a protocol to an origin. `context`: for TLS with the upstream and with the proxy, if either is secure.

    Raises OSError and UnicodeError of the upstream, ConnectFailed for a proxy's refusal.
    """
    loop, proxy = asyncio.get_running_loop(), way.proxy
    tls = context if origin.scheme == "https" else None
    if proxy is None:
        await loop.create_connection(lambda: protocol, origin.host, origin.port, ssl=tls)
        return
    to_proxy = context if proxy.secure else None
    if tls is None:
        try:
            await loop.create_connection(lambda: protocol, proxy.host, proxy.port, ssl=to_proxy)
        except (OSError, UnicodeError) as error:
            raise _unreachable(origin, proxy, error) from error
        return
    try:
        transport, tunnel = await loop.create_connection(_Tunnel, proxy.host, proxy.port, ssl=to_proxy)
        try:
            await tunnel.established(origin, proxy)
        except BaseException:
            transport.abort()
            raise
    except (OSError, UnicodeError) as error:
        raise _unreachable(origin, proxy, error) from error
    try:
        secured = await loop.start_tls(transport, protocol, tls, server_hostname=origin.host)
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise ConnectionResetError("closed within the TLS handshake")
    protocol.connection_made(secured)


def probe(transport: asyncio.Transport) -> None:
    """Let the kernel probe an idle peer, and end the connection if it does not answer."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, name, value)


def bound_silence(transport: asyncio.Transport, seconds: int) -> None:
    """Set how long sent bytes may stay unacknowledged, where the system can do that (Linux)."""
    if _USER_TIMEOUT is not None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, seconds * 1000)


def absolute(origin: Origin, proxy: Proxy, target: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return the target of a request that a proxy forwards, and the headers that it needs."""
    headers = ((b"Proxy-Authorization", proxy.authorization),) if proxy.authorization is not None else ()
    return b"http://" + authority(origin) + target, headers


def refusal(origin: Origin, proxy: Proxy, status: int) -> ConnectFailed:
    """Return the error for a proxy's status. The proxy's own text may repeat credentials, and is left out."""
    needs = "credentials, or others" if proxy.user is not None else "credentials"
    text = {
        403: "it does not allow this host; see its rules, or add the host to NO_PROXY",
        407: f"it needs {needs}; write them in the setting, as in http://user:pass@host:3128",
    }.get(status, "it cannot reach the host" if status >= 500 else "it refuses to connect to the host")
    return ConnectFailed(
        f"{origin}: the proxy {proxy.address} answered {status}: {text}",
        "proxy",
        setting=proxy.setting,
        lasting=status < 500 and status not in _PASSING,
    )


def _unreachable(origin: Origin, proxy: Proxy, error: OSError | UnicodeError) -> ConnectFailed:
    return ConnectFailed(
        f"{origin}: the proxy {proxy.address} cannot be reached: {error}", "proxy", setting=proxy.setting
    )


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel, and waits for the head of its response."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def established(self, origin: Origin, proxy: Proxy) -> None:
        """Return once the proxy is connected to the origin. Raises ConnectFailed, OSError."""
        to = str(origin).encode()
        lines = [b"CONNECT " + to + b" HTTP/1.1", b"Host: " + to]
        if proxy.authorization is not None:
            lines.append(b"Proxy-Authorization: " + proxy.authorization)
        cast("asyncio.Transport", self._transport).write(b"\r\n".join(lines) + b"\r\n\r\n")
        words = (await self._head).split(b" ", 2)
        if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or len(words[1]) != 3 or not words[1].isdigit():
            raise ConnectionResetError("it does not answer in HTTP/1")
        status = int(words[1])
        if not 200 <= status < 300:
            raise refusal(origin, proxy, status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the head; the upstream does not speak before the TLS handshake, so nothing may follow it."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if self._head.done():
            return
        if end and (not rest or head.split(b" ", 2)[1:2] != [b"200"]):
            self._head.set_result(bytes(head))
        elif end or len(self._received) > _HEAD_BYTES:
            self._head.set_exception(ConnectionResetError("it sent more than the head of a response"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the wait."""
        if not self._head.done():
            self._head.set_exception(exc or ConnectionResetError("it closed the connection without an answer"))
