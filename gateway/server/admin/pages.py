"""The recorder's pages, served on a unix socket in the data folder; workers hand requests for `/-/` on to them."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway.config.model import Sql
from gateway.server.admin.jaeger import jaeger_pages
from gateway.server.admin.query_pool import QueryPool, TooManyQueries
from gateway.store.query import QueryError

log = logging.getLogger("gateway.admin")

# More than any query that a person or a program would write.
_BODY_MAX = 16 * 1024 * 1024


class SqlRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /-/sql. `objects`: rows by the names of their columns, as dashboards want them, not lists."""

    sql: str
    limit: int = 1000
    objects: bool = False


def pages(
    data: Path, settings: Sql, health: Callable[[], dict[str, Any]], more: Iterable[web.RouteDef] = ()
) -> web.Application:
    """Return the recorder's application. `health` gives what /-/health says of the store; `more`: further pages."""

    async def show_health(_request: web.Request) -> web.Response:
        return web.json_response(health())

    rooms = QueryPool(data, settings)

    async def sql(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=SqlRequest)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return problem(400, f'the body must be {{"sql": "...", "limit": n, "objects": bool}}: {error}')
        limit = max(1, min(asked.limit, settings.max_rows))
        try:
            result = await rooms.ask(asked.sql, limit)
        except TooManyQueries as error:
            return problem(429, str(error))
        except QueryError as error:
            return problem(400, str(error))
        rows: list[Any] = result.rows
        if asked.objects:
            rows = [dict(zip(result.columns, row, strict=True)) for row in rows]
        body = {"columns": result.columns, "rows": rows, "truncated": result.truncated}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    app = web.Application(client_max_size=_BODY_MAX, middlewares=[_errors_as_json])
    app.router.add_get("/-/health", show_health)
    app.router.add_post("/-/sql", sql)
    app.add_subapp("/-/jaeger", jaeger_pages(rooms))
    app.router.add_routes(more)
    return app


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Say in JSON what aiohttp would say in plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return problem(404, f"there is no page {request.path}; there are {', '.join(sorted(_paths(request.app)))}")
    except web.HTTPMethodNotAllowed as error:
        methods = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"{request.path} takes {methods}, not {request.method}", {"Allow": methods})
    except web.HTTPException as error:
        return problem(error.status, error.text or error.reason)
    except Exception:
        log.exception("the page %s failed", request.path)
        return problem(500, f"the page {request.path} failed; the gateway's log says why")


def _paths(app: web.Application) -> set[str]:
    return {resource.canonical for resource in app.router.resources()}


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error of a page, as JSON."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
