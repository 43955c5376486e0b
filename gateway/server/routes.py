"""Every path that the gateway answers: the table of a worker, and the table of the recorder's admin pages.

A worker answers clients. It matches the raw path, so that a path for a provider reaches it byte for byte. Requests
under `/-/` are forwarded to the recorder over its unix socket, except `/-/health`, which a worker can answer alone.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from gateway.config.model import Sql
from gateway.dialects.registry import TABLES
from gateway.server.admin.configuration import ConfigPages
from gateway.server.admin.jaeger import JaegerPages, errors_as_jaeger
from gateway.server.admin.responses import errors_as_json
from gateway.server.admin.sql import QueryPool, SqlPage
from gateway.server.ingest.otlp_endpoint import no_such_signal, wrong_method

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Larger than any query.
_ADMIN_BODY_MAX = 16 * 1024 * 1024


# Signals in development, and OTLP's service names, which gRPC clients call.
_NO_SIGNALS = ("/v1development/*", "//v1development/*", "/v1/v1development/*", "/opentelemetry.proto.*")
# Of paths of OTLP: clients append `v1/logs` to an endpoint that may end in `/` or in `/v1`.
_LEADS, _TAILS = ("/v1/", "//v1/", "/v1/v1/"), ("", "/")


def worker_routes(
    *, events: Handler, traces: Handler, logs: Handler, metrics: Handler, alive: Handler, admin: Handler, proxy: Handler
) -> "Router":
    """Return the table of a worker."""
    signals = {"traces": traces, "logs": logs, "metrics": metrics}
    telemetry = {f"{lead}{name}{tail}": signals[name] for name in signals for lead in _LEADS for tail in _TAILS}
    return Router(
        # Run events, under the paths of chronicle's API.
        Route("POST", "/event", events),
        Route("POST", "/events", events),
        Route("POST", "/v1/event", events),
        Route("POST", "/v1/events", events),
        # Telemetry of applications, over OTLP/HTTP. None of it is ever forwarded to a provider.
        *(Route("POST", path, handler) for path, handler in telemetry.items()),
        *(Route("*", path, wrong_method) for path in telemetry),
        *(Route("*", path, no_such_signal) for path in _NO_SIGNALS),
        # Liveness: `/` and `/healthz` of chronicle's API.
        *(Route(method, path, alive) for path in sorted(TABLES.health_paths) for method in ("GET", "HEAD")),
        # Admin pages.
        Route("*", "/-/*", admin),
        # Everything else goes to a provider.
        Route("*", "*", proxy),
    )


def recorder_routes(
    health: Handler, sql: Handler, metrics: Handler | None, config: ConfigPages | None
) -> list[web.RouteDef]:
    """Return the table of the recorder; `metrics` and `config` may be absent."""
    return [
        web.get("/-/health", health),
        web.post("/-/sql", sql),
        *([web.get("/-/metrics", metrics)] if metrics is not None else []),
        *(_config_routes(config) if config is not None else []),
    ]


def _config_routes(pages: ConfigPages) -> list[web.RouteDef]:
    return [
        web.get("/-/config", pages.show),
        web.get("/-/config/{table}", pages.show_table),
        web.get("/-/config/{table}/{name:.+}", pages.show_entry),
        web.put("/-/config/{table}/{name:.+}", pages.put),
        web.delete("/-/config/{table}/{name:.+}", pages.delete),
    ]


def jaeger_routes(pages: JaegerPages) -> list[web.RouteDef]:
    """Return the table of Jaeger's query API, below `/-/jaeger`."""
    return [
        web.get("/api/services", pages.services),
        web.get("/api/services/{service}/operations", pages.operation_names),
        web.get("/api/operations", pages.operations),
        web.get("/api/traces", pages.search),
        web.get("/api/traces/{trace_id}", pages.trace),
        web.get("/api/dependencies", pages.dependencies),
        web.get("/api/metrics/{name}", pages.no_metrics),
        web.get("/api/v3/services", pages.services_v3),
        web.get("/api/v3/operations", pages.operations_v3),
        web.get("/api/v3/traces", pages.search_v3),
        web.get("/api/v3/traces/{trace_id}", pages.trace_v3),
        web.get("/api/v3/trace-summaries", pages.summaries),
    ]


class Route(NamedTuple):
    """One line of a worker's table. `method` `*` is any; a `path` that ends in `*` is a prefix."""

    method: str
    path: str
    handler: Handler


class Router:
    """Finds the handler of a request: exact paths first, then prefixes in the order of the table."""

    def __init__(self, *routes: Route) -> None:
        self.routes = routes
        self._exact = {(route.method, route.path): route.handler for route in routes if not route.path.endswith("*")}
        self._prefixes = [(route.path[:-1], route.handler) for route in routes if route.path.endswith("*")]

    def __repr__(self) -> str:
        return f"<Router {len(self.routes)} routes>"

    def handler(self, method: str, raw_path: str) -> Handler:
        """Return the handler of a method and a raw path, whose query is ignored. Raises LookupError if none matches."""
        path = raw_path.partition("?")[0]
        exact = self._exact.get((method, path)) or self._exact.get(("*", path))
        if exact is not None:
            return exact
        for prefix, handler in self._prefixes:
            if raw_path.startswith(prefix):
                return handler
        raise LookupError(f"no route matches {method} {raw_path}")


def recorder_app(
    data: Path,
    settings: Sql,
    health: Callable[[], dict[str, Any]],
    *,
    metrics: Handler | None = None,
    config: ConfigPages | None = None,
) -> web.Application:
    """Return the recorder's application. `health`: the recorder's part of `/-/health`."""

    async def show_health(_request: web.Request) -> web.Response:
        return web.json_response(health())

    pool = QueryPool(data, settings)
    app = web.Application(client_max_size=_ADMIN_BODY_MAX, middlewares=[errors_as_json])
    app.router.add_routes(recorder_routes(show_health, SqlPage(pool, settings.max_rows).handle, metrics, config))
    jaeger = web.Application(middlewares=[errors_as_jaeger])
    jaeger.router.add_routes(jaeger_routes(JaegerPages(pool)))
    app.add_subapp("/-/jaeger", jaeger)
    return app
