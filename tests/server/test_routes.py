"""Routes: which handler of a worker answers which request, and which pages a recorder serves."""

from pathlib import Path

import pytest
from aiohttp import web

from gateway.config.model import Sql
from gateway.server.ingest.otlp_endpoint import no_such_signal, wrong_method
from gateway.server.routes import Route, Router, recorder_app, worker_routes
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request


def _named(name: str):
    async def handler(_request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    handler.__name__ = name
    return handler


NAMES = ("events", "traces", "logs", "metrics", "alive", "admin", "proxy")
GIVEN = {name: _named(name) for name in NAMES}
ROUTER = worker_routes(**GIVEN)
HANDLERS = GIVEN | {"wrong_method": wrong_method, "no_such_signal": no_such_signal}

MATCHES = [
    ("POST", "/event", "events"),
    ("POST", "/events", "events"),
    ("POST", "/v1/event", "events"),
    ("POST", "/v1/events", "events"),
    ("POST", "/events?wait=1", "events"),
    ("GET", "/events", "proxy"),
    ("POST", "/events/", "proxy"),
    ("POST", "//events", "proxy"),
    ("POST", "/%65vents", "proxy"),
    *(
        (method, f"{lead}{signal}{tail}", signal if method == "POST" else "wrong_method")
        for signal in ("traces", "logs", "metrics")
        for lead in ("/v1/", "//v1/", "/v1/v1/")
        for tail in ("", "/", "?x")
        for method in ("POST", "GET", "PUT")
    ),
    ("POST", "/v1/logs/ingest", "proxy"),
    ("POST", "/openai/v1/logs", "proxy"),
    ("POST", "/v1development/profiles", "no_such_signal"),
    ("GET", "/v1development/", "no_such_signal"),
    ("POST", "//v1development/profiles", "no_such_signal"),
    ("POST", "/v1/v1development/profiles", "no_such_signal"),
    ("POST", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", "no_such_signal"),
    ("GET", "/", "alive"),
    ("GET", "/?x=1", "alive"),
    ("HEAD", "/", "alive"),
    ("GET", "/healthz", "alive"),
    ("HEAD", "/healthz", "alive"),
    ("POST", "/healthz", "proxy"),
    ("POST", "/", "proxy"),
    ("GET", "//", "proxy"),
    ("GET", "/chat", "proxy"),
    ("GET", "/-/", "admin"),
    ("GET", "/-/health", "admin"),
    ("POST", "/-/sql?x", "admin"),
    ("DELETE", "/-/config/aliases/a", "admin"),
    ("GET", "/-", "proxy"),
    ("GET", "/-?/-/", "proxy"),
    ("POST", "/v1/chat/completions", "proxy"),
    ("OPTIONS", "*", "proxy"),
]


@pytest.mark.parametrize(("method", "raw_path", "name"), MATCHES)
def test_each_request_has_its_handler(method: str, raw_path: str, name: str):
    """Paths are matched byte for byte without their query; everything without a route of its own is proxied."""
    assert ROUTER.handler(method, raw_path) is HANDLERS[name]


def test_every_route_is_tested():
    """Each line of the table is the one that answers a case above."""
    covered = {(method, path.partition("?")[0]) for method, path, _ in MATCHES}
    exact = {(each.method, each.path) for each in ROUTER.routes if "*" not in each.path and each.method != "*"}
    assert exact <= covered
    assert {each.handler for each in ROUTER.routes} == set(HANDLERS.values())


def test_the_first_prefix_counts():
    """Of two prefixes that match, the first one of the table answers; without one there is an error."""
    a, b = _named("a"), _named("b")
    router = Router(Route("*", "/x/*", a), Route("*", "/x*", b))
    assert (router.handler("GET", "/x/y"), router.handler("GET", "/xy")) == (a, b)
    with pytest.raises(LookupError, match="GET /y"):
        router.handler("GET", "/y")
    assert repr(router) == "<Router 2 routes>"


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_a_liveness_probe_is_answered_by_the_worker(path: str, gateway: InProcess):
    """A probe is answered without a recorder, and is no exchange."""
    answer = await exchange(gateway.url, request("GET", path))
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert gateway.rows() == []


RECORDER = {
    ("GET", "/-/health"),
    ("POST", "/-/sql"),
    *(("GET", f"/-/jaeger/api/{path}") for path in ("services", "operations", "traces", "dependencies")),
    *(("GET", f"/-/jaeger/api/v3/{path}") for path in ("services", "operations", "traces", "trace-summaries")),
    ("GET", "/-/jaeger/api/services/{service}/operations"),
    ("GET", "/-/jaeger/api/traces/{trace_id}"),
    ("GET", "/-/jaeger/api/metrics/{name}"),
    ("GET", "/-/jaeger/api/v3/traces/{trace_id}"),
}


def test_the_pages_of_a_recorder(tmp_path: Path):
    """A recorder without metrics and configuration serves health, SQL and Jaeger's API."""
    app = recorder_app(tmp_path, Sql(), dict)
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert {route for route in routes if route[0] != "HEAD"} == RECORDER
