"""Requests of an application that mounts the gateway, restored to the form in which a server of our own reads them.

The application may mount the gateway below a prefix, which is removed from the path. Its server may have decompressed
the body and left `Content-Encoding` in the headers, as aiohttp does by default; that header is removed then.
"""

from typing import Any

from aiohttp import web
from yarl import URL

from gateway.proxy.handler import in_origin_form

_CODING = b"content-encoding"


def unmounted(request: web.Request, body_bytes: int, decompressed: bool | None) -> web.Request:
    """Return the request without prefix and with true headers.

    `body_bytes`: the limit of `request.read()`. `decompressed`: whether the server decompresses bodies, None to look it
    up in the server.
    """
    origin_form = request if request.raw_path.startswith("/") else in_origin_form(request)
    path = below(origin_form.raw_path, prefix(request))
    message = request._message  # noqa: SLF001
    changed: dict[str, Any] = {"path": path, "url": URL("/" + path.lstrip("/"), encoded=True)}
    if message.compression is not None and (_decompresses(request) if decompressed is None else decompressed):
        headers = message.headers.copy()
        headers.popall("Content-Encoding", None)
        raw = tuple((name, value) for name, value in message.raw_headers if name.lower() != _CODING)
        changed |= {"headers": type(message.headers)(headers), "raw_headers": raw, "compression": None}
    inner = request.__class__(
        message._replace(**changed),
        request._payload,  # noqa: SLF001  `clone` does the same, but normalises paths and headers
        request.protocol,
        request._payload_writer,  # noqa: SLF001
        request.task,
        request._loop,  # noqa: SLF001
        client_max_size=body_bytes,
    )
    inner._match_info = request.match_info  # noqa: SLF001  so that the application's signals are sent
    return inner


def prefix(request: web.Request) -> str:
    """Return the prefix that the gateway is mounted below, without a trailing slash; empty at the root."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical.removesuffix("/{path}")


def below(raw_path: str, prefix: str) -> str:
    """Return the path and query below a prefix, byte for byte.

    Segments are counted, since a client may percent-encode characters of the prefix.

    >>> below("/%6clm//v1/models?a=/b", "/llm")
    '//v1/models?a=/b'
    """
    path, mark, query = raw_path.partition("?")
    segments = path.split("/", prefix.count("/") + 1)
    return f"/{segments[-1]}{mark}{query}" if len(segments) > prefix.count("/") + 1 else f"/{mark}{query}"


def _decompresses(request: web.Request) -> bool:
    """Whether the server that read the request decompresses bodies."""
    server = request.protocol._manager  # noqa: SLF001  there is no public attribute
    return bool(getattr(server, "_kwargs", {}).get("auto_decompress", True))
