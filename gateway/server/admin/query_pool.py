"""The rooms of a data folder: how many queries run at once, and how many may wait for one of them."""

import asyncio
from pathlib import Path

from gateway.config.model import Sql
from gateway.store.query import QueryError, Result, run_sql_async

_ROOMS = 4
_WAITING_MAX = 64


class TooManyQueries(QueryError):  # noqa: N818  read as an outcome
    """Too many queries run or wait already."""


class QueryPool:
    """Asks the store by SQL; each query is a process of its own, with memory of its own."""

    def __init__(self, data: Path, settings: Sql) -> None:
        self._data = data
        self._settings = settings
        self._rooms = asyncio.Semaphore(_ROOMS)
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<QueryPool {self._data} running or waiting: {self._waiting}>"

    async def ask(self, sql: str, limit: int) -> Result:
        """Return at most `limit` rows. Raises QueryError: TooManyQueries, and what `gateway.query.run_sql` raises."""
        if self._waiting >= _WAITING_MAX:
            raise TooManyQueries(f"{_WAITING_MAX} queries are running or waiting already; try again later")
        self._waiting += 1
        try:
            async with self._rooms:
                return await run_sql_async(
                    self._data,
                    sql,
                    limit=limit,
                    timeout_s=self._settings.timeout,
                    memory_mb=self._settings.memory_mb,
                )
        finally:
            self._waiting -= 1
