"""Jaeger's query API below `/-/jaeger`: its UI and Grafana's datasource read the store with nothing in between.

Paths, parameters, answers and errors are those of Jaeger's query service, of both APIs that its UIs use. A page is one
query in the locked room, and its rows are turned in a thread, so that nothing here keeps other pages waiting.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.server.admin.query_pool import QueryPool, TooManyQueries
from gateway.store.jaeger import otlp_json, parameters, spans, sql
from gateway.store.query import QueryError, QueryTimeout, Result

log = logging.getLogger("gateway.admin")

_NOT_FOUND = "trace not found"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def jaeger_pages(rooms: QueryPool, clock: Callable[[], float] = time.time) -> web.Application:
    """Return the application that stands below /-/jaeger. `clock`: Unix seconds."""
    pages = _Pages(rooms, clock)
    app = web.Application(middlewares=[_errors_as_jaegers])
    app.router.add_get("/api/services", pages.services)
    app.router.add_get("/api/services/{service}/operations", pages.operation_names)
    app.router.add_get("/api/operations", pages.operations)
    app.router.add_get("/api/traces", pages.search)
    app.router.add_get("/api/traces/{trace_id}", pages.trace)
    app.router.add_get("/api/dependencies", pages.dependencies)
    app.router.add_get("/api/metrics/{name}", _no_metrics)
    app.router.add_get("/api/v3/services", pages.services_v3)
    app.router.add_get("/api/v3/operations", pages.operations_v3)
    app.router.add_get("/api/v3/traces", pages.search_v3)
    app.router.add_get("/api/v3/traces/{trace_id}", pages.trace_v3)
    app.router.add_get("/api/v3/trace-summaries", pages.summaries)
    return app


class _Pages:
    """Each page: what is asked for, one question to the store, Jaeger's words for the answer."""

    def __init__(self, rooms: QueryPool, clock: Callable[[], float]) -> None:
        self._rooms = rooms
        self._clock = clock

    async def services(self, _request: web.Request) -> web.Response:
        return _listed([name for (name,) in (await self._names(sql.services())).rows])

    async def operation_names(self, request: web.Request) -> web.Response:
        found = await self._names(sql.operations(request.match_info["service"]))
        return _listed(list(dict.fromkeys(name for name, _ in found.rows)))

    async def operations(self, request: web.Request) -> web.Response:
        return _listed(await self._operations(request))

    async def search(self, request: web.Request) -> web.Response:
        given = _given(request)
        ids = parameters.trace_ids(given)
        if ids:
            return await self._by_ids(ids)
        result = await self._spans(sql.found(parameters.search(given, int(self._clock() * 1e6))))
        return await _in_thread(lambda: _structured(_traces(result)))

    async def trace(self, request: web.Request) -> web.Response:
        parameters.check_hints(_given(request))
        result = await self._spans(sql.by_ids([parameters.trace_id(request.match_info["trace_id"])]))
        if not result.rows:
            return _refusal(404, _NOT_FOUND)
        return await _in_thread(lambda: _structured(_traces(result)))

    async def dependencies(self, request: web.Request) -> web.Response:
        result = await self._names(
            sql.dependencies(*parameters.dependencies(_given(request), int(self._clock() * 1e3)))
        )
        return _structured(
            [{"parent": parent, "child": child, "callCount": calls} for parent, child, calls in result.rows]
        )

    async def services_v3(self, _request: web.Request) -> web.Response:
        return _json({"services": [name for (name,) in (await self._names(sql.services())).rows]})

    async def operations_v3(self, request: web.Request) -> web.Response:
        return _json({"operations": await self._operations(request)})

    async def search_v3(self, request: web.Request) -> web.Response:
        return await self._resource_spans(sql.found(parameters.search_v3(_given(request))))

    async def trace_v3(self, request: web.Request) -> web.Response:
        return await self._resource_spans(sql.by_ids([parameters.trace_id(request.match_info["trace_id"])]))

    async def summaries(self, request: web.Request) -> web.Response:
        result = await self._rooms.ask(sql.summaries(parameters.search_v3(_given(request))), parameters.MOST_TRACES)
        return _json({"summaries": otlp_json.summaries(result.columns, result.rows)})

    async def _by_ids(self, ids: list[str]) -> web.Response:
        result = await self._spans(sql.by_ids(ids))

        def told() -> web.Response:
            made = {trace["traceID"]: trace for trace in _traces(result)}
            shown = [spans.short_id(each) for each in ids]
            missing = [{"msg": _NOT_FOUND, "traceID": each} for each in shown if each not in made]
            return _structured([made[each] for each in shown if each in made], errors=missing or None)

        return await _in_thread(told)

    async def _resource_spans(self, question: str) -> web.Response:
        result = await self._spans(question)
        if not result.rows:
            return _refusal_v3(404, "no traces found")
        return await _in_thread(
            lambda: _json(
                {"result": {"resourceSpans": otlp_json.resource_spans(spans.rows(result.columns, result.rows))}}
            )
        )

    async def _operations(self, request: web.Request) -> list[dict[str, str]]:
        found = await self._names(sql.operations(*parameters.operations(_given(request))))
        return [{"name": name, "spanKind": kind} for name, kind in found.rows]

    async def _names(self, question: str) -> Result:
        return await self._rooms.ask(question, sql.MOST_NAMES)

    async def _spans(self, question: str) -> Result:
        return await self._rooms.ask(question, sql.MOST_SPANS)


async def _no_metrics(_request: web.Request) -> web.Response:
    """Say what a Jaeger without a metrics store says: its UI then shows how to get one, and no error."""
    return _refusal(501, "metrics querying is currently disabled")


def _traces(result: Result) -> list[dict[str, Any]]:
    found = spans.rows(result.columns, result.rows)
    return spans.traces(found, most=len(result.rows) if result.truncated else None)


async def _in_thread(made: Callable[[], web.Response]) -> web.Response:
    return await asyncio.to_thread(made)


def _given(request: web.Request) -> parameters.Given:
    return {name: request.query.getall(name) for name in request.query}


def _listed(names: list[Any]) -> web.Response:
    return _structured(names, total=len(names))


def _structured(data: Any, *, total: int = 0, errors: Any = None, status: int = 200) -> web.Response:
    """Return what every page of the first API says; its `total` counts names, never traces."""
    return _json({"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors}, status)


def _refusal(status: int, message: str) -> web.Response:
    return _structured(None, errors=[{"code": status, "msg": message}], status=status)


def _refusal_v3(status: int, message: str) -> web.Response:
    return _json({"error": {"httpCode": status, "message": message}}, status)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


@web.middleware
async def _errors_as_jaegers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what goes wrong in Jaeger's words, so that its UI shows the message and not the JSON around it."""
    refusal = _refusal_v3 if "/api/v3/" in request.path else _refusal
    try:
        return await handler(request)
    except parameters.ParameterError as error:
        return refusal(400, str(error))
    except TooManyQueries as error:
        return refusal(429, str(error))
    except QueryTimeout as error:
        return refusal(504, str(error))
    except QueryError as error:
        log.warning("the page %s could not ask the store: %s", request.path, error)
        return refusal(500, str(error))
    except web.HTTPException as error:
        return refusal(error.status, f"{request.method} {request.path}: {error.reason}")
