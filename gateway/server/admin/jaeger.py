"""Jaeger's query API below `/-/jaeger`: Jaeger's UI and Grafana's data source read the store directly.

Paths, parameters, responses and errors are those of Jaeger's query service, in both versions of its API. A page runs
one query in a sandboxed process and converts the rows in a thread, so that it does not delay other pages.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.server.admin.responses import Handler, json_response
from gateway.server.admin.sql import QueryPool, TooManyQueries
from gateway.store.jaeger import otlp_json, parameters, spans, sql
from gateway.store.query import QueryError, QueryTimeout, Result

log = logging.getLogger("gateway.admin")

_NOT_FOUND = "trace not found"


class JaegerPages:
    """The pages: each reads its parameters, runs one query and answers in Jaeger's form. `clock`: Unix seconds."""

    def __init__(self, pool: QueryPool, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._clock = clock

    async def services(self, _request: web.Request) -> web.Response:
        """Answer with names of services."""
        return _listed([name for (name,) in (await self._names(sql.services())).rows])

    async def operation_names(self, request: web.Request) -> web.Response:
        """Answer with names of one service's operations."""
        found = await self._names(sql.operations(request.match_info["service"]))
        return _listed(list(dict.fromkeys(name for name, _ in found.rows)))

    async def operations(self, request: web.Request) -> web.Response:
        """Answer with operations with their span kinds."""
        return _listed(await self._operations(request))

    async def search(self, request: web.Request) -> web.Response:
        """Answer with traces found by parameters, or by their ids."""
        given = _given(request)
        ids = parameters.trace_ids(given)
        if ids:
            return await self._by_ids(ids)
        result = await self._spans(sql.found(parameters.search(given, int(self._clock() * 1e6))))
        return await _in_thread(lambda: _structured(_traces(result)))

    async def trace(self, request: web.Request) -> web.Response:
        """Answer with one trace, or 404."""
        parameters.check_hints(_given(request))
        result = await self._spans(sql.by_ids([parameters.trace_id(request.match_info["trace_id"])]))
        if not result.rows:
            return _refusal(404, _NOT_FOUND)
        return await _in_thread(lambda: _structured(_traces(result)))

    async def dependencies(self, request: web.Request) -> web.Response:
        """Answer with calls between services."""
        result = await self._names(
            sql.dependencies(*parameters.dependencies(_given(request), int(self._clock() * 1e3)))
        )
        return _structured(
            [{"parent": parent, "child": child, "callCount": calls} for parent, child, calls in result.rows]
        )

    async def services_v3(self, _request: web.Request) -> web.Response:
        """Answer with names of services."""
        return json_response({"services": [name for (name,) in (await self._names(sql.services())).rows]})

    async def operations_v3(self, request: web.Request) -> web.Response:
        """Answer with operations with their span kinds."""
        return json_response({"operations": await self._operations(request)})

    async def search_v3(self, request: web.Request) -> web.Response:
        """Answer with traces found, as OTLP."""
        return await self._resource_spans(sql.found(parameters.search_v3(_given(request))))

    async def trace_v3(self, request: web.Request) -> web.Response:
        """Answer with one trace as OTLP, or 404."""
        return await self._resource_spans(sql.by_ids([parameters.trace_id(request.match_info["trace_id"])]))

    async def summaries(self, request: web.Request) -> web.Response:
        """Answer with traces found, without their spans."""
        result = await self._pool.run(sql.summaries(parameters.search_v3(_given(request))), parameters.MOST_TRACES)
        return json_response({"summaries": otlp_json.summaries(result.columns, result.rows)})

    async def no_metrics(self, _request: web.Request) -> web.Response:
        """Answer as a Jaeger without a metrics store: its UI then explains how to get one, and shows no error."""
        return _refusal(501, "metrics querying is currently disabled")

    async def _by_ids(self, ids: list[str]) -> web.Response:
        result = await self._spans(sql.by_ids(ids))

        def build() -> web.Response:
            found = {trace["traceID"]: trace for trace in _traces(result)}
            wanted = [spans.short_id(each) for each in ids]
            missing = [{"msg": _NOT_FOUND, "traceID": each} for each in wanted if each not in found]
            return _structured([found[each] for each in wanted if each in found], errors=missing or None)

        return await _in_thread(build)

    async def _resource_spans(self, query: str) -> web.Response:
        result = await self._spans(query)
        if not result.rows:
            return _refusal_v3(404, "no traces found")
        return await _in_thread(
            lambda: json_response(
                {"result": {"resourceSpans": otlp_json.resource_spans(spans.rows(result.columns, result.rows))}}
            )
        )

    async def _operations(self, request: web.Request) -> list[dict[str, str]]:
        found = await self._names(sql.operations(*parameters.operations(_given(request))))
        return [{"name": name, "spanKind": kind} for name, kind in found.rows]

    async def _names(self, query: str) -> Result:
        return await self._pool.run(query, sql.MOST_NAMES)

    async def _spans(self, query: str) -> Result:
        return await self._pool.run(query, sql.MOST_SPANS)


def _traces(result: Result) -> list[dict[str, Any]]:
    found = spans.rows(result.columns, result.rows)
    return spans.traces(found, most=len(result.rows) if result.truncated else None)


async def _in_thread(build: Callable[[], web.Response]) -> web.Response:
    return await asyncio.to_thread(build)


def _given(request: web.Request) -> parameters.QueryString:
    return {name: request.query.getall(name) for name in request.query}


def _listed(names: list[Any]) -> web.Response:
    return _structured(names, total=len(names))


def _structured(data: Any, *, total: int = 0, errors: Any = None, status: int = 200) -> web.Response:
    """Return the envelope of the first API; its `total` counts names, never traces."""
    return json_response({"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors}, status)


def _refusal(status: int, message: str) -> web.Response:
    return _structured(None, errors=[{"code": status, "msg": message}], status=status)


def _refusal_v3(status: int, message: str) -> web.Response:
    return json_response({"error": {"httpCode": status, "message": message}}, status)


@web.middleware
async def errors_as_jaeger(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors in Jaeger's form, so that its UI shows the message and not the JSON around it."""
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
        log.warning("the page %s could not query the store: %s", request.path, error)
        return refusal(500, str(error))
    except web.HTTPException as error:
        return refusal(error.status, f"{request.method} {request.path}: {error.reason}")
