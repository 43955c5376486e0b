"""Headers that link a request to the current run and step, and hooks that add them to requests of httpx.

Hooks add headers only to requests that go to the gateway: runs, users and sessions are sent to no other server.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from gateway.client import context
from gateway.client.delivery import this_process
from gateway.client.settings import Address, address_of
from gateway.client.values import text

# The header of each metadata field, without `x-gateway-`.
_HEADERS = {
    "application": "application",
    "environment": "environment",
    "session": "session",
    "user": "user",
    "organization_id": "organization-id",
    "project_id": "project-id",
    "workflow_id": "workflow-id",
    "workflow_name": "workflow-name",
    "step_index": "step-index",
    "prompt_id": "prompt-id",
    "prompt_version": "prompt-version",
}
_INTEGERS = frozenset({"step_index", "prompt_version"})
# Characters of a header's value; servers accept about 8,000 bytes of all headers.
_LONGEST, _LONGEST_EXTRA = 1024, 4096
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ASCII = "".join(map(chr, range(32, 127)))
# The extension of a request with the headers that a hook added; httpx copies extensions on redirects.
_ADDED = "gateway.client"

Hook = Callable[[Any], None]
AsyncHook = Callable[[Any], Awaitable[None]]


def headers() -> dict[str, str]:
    """Return headers for a request to the gateway, for any HTTP client.

    They have the current step's `traceparent`, the ids of run and step, and the metadata, percent-encoded if it is not
    ASCII; not the token. Send them to the gateway only.
    """
    return _headers()


def httpx_hook_for(url: str) -> Hook:
    """Return a request hook for another URL than the configured one. Raises ValueError if it is no URL."""
    only = address_of(url)
    return lambda request: _add(request, only)


def httpx_async_hook_for(url: str) -> AsyncHook:
    """Return `httpx_hook_for`, for asynchronous clients."""
    only = address_of(url)

    async def hook(request: Any) -> None:
        _add(request, only)

    return hook


def httpx_hook(request: Any) -> None:
    """Add `headers` to a request of httpx or httpx2 that goes to the gateway: `event_hooks={"request": [httpx_hook]}`.

    Headers that the request has already are kept. The token is added if one is configured.
    """
    _add(request, None)


async def httpx_async_hook(request: Any) -> None:
    """Add `headers` likewise, for asynchronous clients."""
    _add(request, None)


def _add(request: Any, only: Address | None) -> None:
    """Change a request's headers if it goes to `only`, or, if that is None, to the configured address."""
    try:
        for name in request.extensions.pop(_ADDED, ()):
            request.headers.pop(name, None)
        settings = this_process().settings
        if not _goes_to(request.url, only or settings.address):
            return
        found = _headers()
        if only is None and settings.token and settings.enabled:
            found["x-gateway-token"] = settings.token
        added = [name for name in found if name not in request.headers]
        for name in added:
            request.headers[name] = found[name]
        request.extensions[_ADDED] = added
    except Exception:
        this_process().warn_once("hook", "a request could not be given its headers", exc_info=True)


def _goes_to(url: Any, address: Address) -> bool:
    port = url.port or (443 if url.scheme == "https" else 80)
    return bool(
        url.scheme == address.scheme
        and port == address.port
        and (url.host == address.host or {url.host, address.host} <= _LOOPBACK)
    )


def _headers() -> dict[str, str]:
    settings, here = this_process().settings, context.current()
    if not settings.enabled:
        return {}
    found: dict[str, str] = {}
    if here is not None:
        found["traceparent"] = f"00-{here.trace_id}-{here.span_id}-01"
        found["x-gateway-run"] = _line(here.run.id, _LONGEST)
        if here.step is not None:
            found["x-gateway-step"] = _line(here.step.id, _LONGEST)
    metadata: Mapping[str, object] = settings.metadata if here is None else here.metadata
    for name, header in _HEADERS.items():
        if (value := metadata.get(name)) is None:
            continue
        if name in _INTEGERS and (not isinstance(value, int) or abs(value) >= 10**9):
            this_process().warn_once(name, "%s must be a whole number; requests do not have it", name)
        elif line := _line(value if isinstance(value, str) else str(value), _LONGEST):
            found[f"x-gateway-{header}"] = line
    if (extra := metadata.get("extra")) is not None:
        line = json.dumps(extra, default=text)
        if isinstance(extra, Mapping) and len(line) <= _LONGEST_EXTRA:
            found["x-gateway-extra-meta"] = line
        else:
            this_process().warn_once("extra", "extra must be a JSON object of %d characters at most", _LONGEST_EXTRA)
    return found


def _line(value: str, longest: int) -> str:
    """Return a header's value that every library accepts: one line of ASCII."""
    line = "".join(each if each.isprintable() else " " for each in text(value)[:longest]).strip()
    return line if line.isascii() else quote(line, safe=_ASCII)
