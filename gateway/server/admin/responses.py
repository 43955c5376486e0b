"""JSON responses of the admin pages, and the HTTP status of each error."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.errors import ConfigError, GatewayError
from gateway.server.admin.sql import TooManyQueries
from gateway.server.live_config.overrides import UnchangeableError, UnknownEntryError
from gateway.store.query import QueryError

log = logging.getLogger("gateway.admin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUSES: tuple[tuple[type[GatewayError], int], ...] = (
    (UnknownEntryError, 404),
    (UnchangeableError, 409),
    (ConfigError, 422),
    (TooManyQueries, 429),
    (QueryError, 400),
    (GatewayError, 503),
)
"""The status of each error that a page may raise; the first class that matches counts."""


def json_response(body: Any, status: int = 200) -> web.Response:
    """Return `body` encoded as JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error response: `{"error": {"message": ...}}`."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the errors of pages in JSON; aiohttp's own responses are plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return problem(404, f"there is no page {request.path}; there are {', '.join(sorted(_paths(request.app)))}")
    except web.HTTPMethodNotAllowed as error:
        methods = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"{request.path} takes {methods}, not {request.method}", {"Allow": methods})
    except web.HTTPException as error:
        return problem(error.status, error.text or error.reason)
    except GatewayError as error:
        return problem(next(status for kind, status in STATUSES if isinstance(error, kind)), str(error))
    except Exception:
        log.exception("the page %s failed", request.path)
        return problem(500, f"the page {request.path} failed; see the gateway's log")


def _paths(app: web.Application) -> set[str]:
    return {resource.canonical for resource in app.router.resources()}
