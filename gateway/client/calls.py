"""What requests to the gateway carry, so that each stands below the step that made it: headers, and hooks for httpx.

Hooks add them only to requests that go where the gateway is: nobody else learns of runs, users and sessions.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from gateway.client import scope
from gateway.client.delivery import this_process
from gateway.client.settings import Address, address_of
from gateway.client.values import text

# By the metadata's name, what follows `x-gateway-`.
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
_WHOLE = frozenset({"step_index", "prompt_version"})
# Characters of one header's value: servers take some 8,000.
_LONGEST, _LONGEST_EXTRA = 1024, 4096
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ASCII = "".join(map(chr, range(32, 127)))
# What a hook has added to a request, in the request's extensions, which go with it where it is redirected.
_ADDED = "gateway.client"

Hook = Callable[[Any], None]
AsyncHook = Callable[[Any], Awaitable[None]]


def headers() -> dict[str, str]:
    """Return what a request to the gateway should carry where this is called, for any HTTP client.

    The current step's `traceparent`, the ids of the run and the step, and the metadata. What is not ASCII is
    percent-encoded. The token is not among them. Send them to the gateway only.
    """
    return _said()


def httpx_hook_for(url: str) -> Hook:
    """Return a request hook for another URL than the one configured. Raises ValueError for what is no URL."""
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

    What the request says already stays as it is. The token is added where there is one.
    """
    _add(request, None)


async def httpx_async_hook(request: Any) -> None:
    """Do the same for asynchronous clients."""
    _add(request, None)


def _add(request: Any, only: Address | None) -> None:
    """Change a request's headers; `only` is None for where the settings say."""
    try:
        for name in request.extensions.pop(_ADDED, ()):
            request.headers.pop(name, None)
        settings = this_process().settings
        if not _there(request.url, only or settings.address):
            return
        said = _said()
        if only is None and settings.token and settings.enabled:
            said["x-gateway-token"] = settings.token
        added = [name for name in said if name not in request.headers]
        for name in added:
            request.headers[name] = said[name]
        request.extensions[_ADDED] = added
    except Exception:
        this_process().say("hook", "a request could not be given its headers", exc_info=True)


def _there(url: Any, address: Address) -> bool:
    port = url.port or (443 if url.scheme == "https" else 80)
    return bool(
        url.scheme == address.scheme
        and port == address.port
        and (url.host == address.host or {url.host, address.host} <= _LOOPBACK)
    )


def _said() -> dict[str, str]:
    """Return the headers, as text."""
    settings, here = this_process().settings, scope.here()
    if not settings.enabled:
        return {}
    said: dict[str, str] = {}
    if here is not None:
        said["traceparent"] = f"00-{here.trace_id}-{here.span_id}-01"
        said["x-gateway-run"] = _line(here.run.id, _LONGEST)
        if here.step is not None:
            said["x-gateway-step"] = _line(here.step.id, _LONGEST)
    metadata: Mapping[str, object] = settings.metadata if here is None else here.metadata
    for name, header in _HEADERS.items():
        if (value := metadata.get(name)) is None:
            continue
        if name in _WHOLE and (not isinstance(value, int) or abs(value) >= 10**9):
            this_process().say(name, "%s must be a whole number; it is left out of requests", name)
        elif line := _line(value if isinstance(value, str) else str(value), _LONGEST):
            said[f"x-gateway-{header}"] = line
    if (extra := metadata.get("extra")) is not None:
        line = json.dumps(extra, default=text)
        if isinstance(extra, Mapping) and len(line) <= _LONGEST_EXTRA:
            said["x-gateway-extra-meta"] = line
        else:
            this_process().say("extra", "extra must be a JSON object of %d characters at most", _LONGEST_EXTRA)
    return said


def _line(value: str, longest: int) -> str:
    """Return what any library sends as a header's value: one line of ASCII."""
    line = "".join(each if each.isprintable() else " " for each in text(value)[:longest]).strip()
    return line if line.isascii() else quote(line, safe=_ASCII)
