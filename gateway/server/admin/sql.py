"""`POST /-/sql`, and the pool that bounds how many sandboxed query processes run at once."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gateway.config.model import Sql
from gateway.store.query import QueryError, Result, run_sql_async

_PROCESSES = 4
_PENDING_MAX = 64


class TooManyQueries(QueryError):  # noqa: N818  read as an outcome
    """Too many queries are running or waiting."""


class QueryPool:
    """Runs each query of the store in a sandboxed process of its own, at most four at a time."""

    def __init__(self, data: Path, settings: Sql) -> None:
        self._data = data
        self._settings = settings
        self._processes = asyncio.Semaphore(_PROCESSES)
        self._pending = 0

    def __repr__(self) -> str:
        return f"<QueryPool {self._data} running or waiting: {self._pending}>"

    async def run(self, sql: str, limit: int) -> Result:
        """Return at most `limit` rows. Raises QueryError: TooManyQueries, or any of `gateway.store.query`."""
        if self._pending >= _PENDING_MAX:
            raise TooManyQueries(f"{_PENDING_MAX} queries are running or waiting already; try again later")
        self._pending += 1
        try:
            async with self._processes:
                return await run_sql_async(
                    self._data,
                    sql,
                    limit=limit,
                    timeout_s=self._settings.timeout,
                    memory_mb=self._settings.memory_mb,
                )
        finally:
            self._pending -= 1


class SqlRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /-/sql`. With `objects` each row is an object keyed by column, else a list."""

    sql: str
    limit: int = 1000
    objects: bool = False


class SqlPage:
    """Answers `POST /-/sql` with `{"columns": [...], "rows": [...], "truncated": bool}`."""

    def __init__(self, pool: QueryPool, max_rows: int) -> None:
        self._pool = pool
        self._max_rows = max_rows

    async def handle(self, request: web.Request) -> web.Response:
        """Run the query of the request's body. Raises QueryError, also for a body that is no `SqlRequest`."""
        try:
            query = msgspec.json.decode(await request.read(), type=SqlRequest)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise QueryError(f'the body must be {{"sql": "...", "limit": n, "objects": bool}}: {error}') from None
        result = await self._pool.run(query.sql, max(1, min(query.limit, self._max_rows)))
        rows: list[Any] = result.rows
        if query.objects:
            rows = [dict(zip(result.columns, row, strict=True)) for row in rows]
        body = {"columns": result.columns, "rows": rows, "truncated": result.truncated}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")
