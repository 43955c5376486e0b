"""A request as it would look without the application around us: below our own root, its body as its headers say.

Another application may mount us below a prefix. Its server may have decoded the body and left the header that says how
it was coded: aiohttp's does, unless it was told otherwise.
"""

from typing import Any

from aiohttp import web
from yarl import URL

from gateway.proxy.handler import in_origin_form

_CODING = b"content-encoding"


def inner(request: web.Request, body_bytes: int, decompressed: bool | None) -> web.Request:
    """Return the request that we are to answer.

    `body_bytes`: how long a body may be that is read at once. `decompressed`: whether the server decodes bodies, None
    where that is to be found out.
    """
    shown = request if request.raw_path.startswith("/") else in_origin_form(request)
    path = below(shown.raw_path, mount(request))
    message = request._message  # noqa: SLF001
    changed: dict[str, Any] = {"path": path, "url": URL("/" + path.lstrip("/"), encoded=True)}
    if message.compression is not None and (_decodes(request) if decompressed is None else decompressed):
        headers = message.headers.copy()
        headers.popall("Content-Encoding", None)
        raw = tuple((name, value) for name, value in message.raw_headers if name.lower() != _CODING)
        changed |= {"headers": type(message.headers)(headers), "raw_headers": raw, "compression": None}
    made = request.__class__(
        message._replace(**changed),
        request._payload,  # noqa: SLF001  as `clone` does, which cannot keep a path or a header as it came
        request.protocol,
        request._payload_writer,  # noqa: SLF001
        request.task,
        request._loop,  # noqa: SLF001
        client_max_size=body_bytes,
    )
    made._match_info = request.match_info  # noqa: SLF001  so that its signals are sent
    return made


def mount(request: web.Request) -> str:
    """Return the prefix that we are mounted below, without a slash at its end."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical.removesuffix("/{path}")


def below(raw_path: str, prefix: str) -> str:
    """Return a request's path and query below a prefix, byte for byte.

    The client may have written the prefix in another way, with escapes: its segments are counted.

    >>> below("/%6clm//v1/models?a=/b", "/llm")
    '//v1/models?a=/b'
    """
    path, mark, query = raw_path.partition("?")
    segments = path.split("/", prefix.count("/") + 1)
    return f"/{segments[-1]}{mark}{query}" if len(segments) > prefix.count("/") + 1 else f"/{mark}{query}"


def _decodes(request: web.Request) -> bool:
    """Whether the server that read the request decodes bodies."""
    server = request.protocol._manager  # noqa: SLF001  nothing public says it
    return bool(getattr(server, "_kwargs", {}).get("auto_decompress", True))
