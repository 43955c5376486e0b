"""The rooms of a data folder: so many queries at once, so many that wait, and no more."""

import asyncio
from pathlib import Path

import pytest

from gateway.config.model import Sql
from gateway.server.admin.query_pool import QueryPool, TooManyQueries
from gateway.store.query import QueryError
from tests.support.store import small


@pytest.fixture(name="rooms")
def _rooms(tmp_path: Path) -> QueryPool:
    return QueryPool(small(tmp_path), Sql())


async def test_a_query_too_many_is_refused_until_others_are_done(rooms: QueryPool):
    """Those that wait leave when their askers do."""
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(rooms.ask("SELECT 1", 1)) for _ in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQueries, match="64 queries"):
        await rooms.ask("SELECT 1", 1)
    assert repr(rooms).endswith("running or waiting: 64>")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await rooms.ask("SELECT count(*) FROM exchanges", 1)).rows == [[3]]


@pytest.mark.integration
async def test_a_query_that_fails_leaves_its_room(rooms: QueryPool):
    """Its error is the asker's."""
    for _ in range(5):
        with pytest.raises(QueryError, match="nope"):
            await rooms.ask("SELECT nope", 1)
    assert repr(rooms).endswith("running or waiting: 0>")
