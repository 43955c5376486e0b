"""SQL over the store: the bounds of the query pool, and the requests and responses of `POST /-/sql`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.model import Sql
from gateway.server.admin.sql import QueryPool, TooManyQueries
from gateway.server.data_dir import socket_path
from gateway.store.query import QueryError
from tests.support.admin import JSON, page, recording, sql
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.store import small

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE hash(a.range + b.range) = 1"


@pytest.fixture(name="pool")
def _pool(tmp_path: Path) -> QueryPool:
    return QueryPool(small(tmp_path), Sql())


async def test_a_query_too_many_is_refused_until_others_are_done(pool: QueryPool):
    """At most 64 queries run or wait; one that is cancelled makes room for another."""
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(pool.run("SELECT 1", 1)) for _ in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQueries, match="64 queries"):
        await pool.run("SELECT 1", 1)
    assert repr(pool).endswith("running or waiting: 64>")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await pool.run("SELECT count(*) FROM exchanges", 1)).rows == [[3]]


@pytest.mark.integration
async def test_a_query_that_fails_frees_its_process(pool: QueryPool):
    """A query that fails raises its error to the caller, and frees its process."""
    for _ in range(5):
        with pytest.raises(QueryError, match="nope"):
            await pool.run("SELECT nope", 1)
    assert repr(pool).endswith("running or waiting: 0>")


@pytest.fixture(name="recorder")
async def _recorder(gateway: InProcess) -> AsyncIterator[None]:
    """Serve a recorder's pages beside the gateway."""
    async with recording(gateway.data):
        yield


@pytest.mark.usefixtures("upstream", "recorder")
async def test_sql_gives_columns_and_rows(gateway: InProcess):
    """A response has columns, rows and whether rows were cut off."""
    await exchange(gateway.url, request("GET", "/v1/models"))
    status, said = await sql(gateway, "SELECT path, status_code, error FROM exchanges")
    assert status == 200
    assert said == {
        "columns": ["path", "status_code", "error"],
        "rows": [["/v1/models", 200, None]],
        "truncated": False,
    }


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(
    ("limit", "rows", "truncated"),
    [
        (2, 2, True),
        pytest.param(3, 3, False, marks=pytest.mark.integration),
        pytest.param(0, 1, True, marks=pytest.mark.integration),
        pytest.param(10**6, 3, False, marks=pytest.mark.integration),
    ],
)
async def test_sql_is_bounded_by_its_limit(gateway: InProcess, limit, rows, truncated):
    """The response has at most `limit` rows, at least one, and is marked if there were more."""
    status, said = await sql(gateway, "SELECT * FROM range(3)", limit=limit)
    assert (status, len(said["rows"]), said["truncated"]) == (200, rows, truncated)


async def test_sql_is_bounded_by_the_configuration(gateway: InProcess):
    """`max_rows` and the timeout bound every query, whatever its limit."""
    async with recording(gateway.data, Sql(max_rows=2)):
        _, said = await sql(gateway, "SELECT * FROM range(9)", limit=9)
        assert (len(said["rows"]), said["truncated"]) == (2, True)
        socket_path(gateway.data).unlink()
    async with recording(gateway.data, Sql(timeout=1.0)):
        status, said = await sql(gateway, ENDLESS)
        assert status == 400
        assert "1 s" in said["error"]["message"]


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"SELECT 1", "the body must be"),
    "no body": (b"", "the body must be"),
    "no object": (b"[]", "the body must be"),
    "no query": (b"{}", "`sql`"),
    "another field": (b'{"sql": "SELECT 1", "lmit": 3}', "`lmit`"),
    "another type": (b'{"sql": 1}', "$.sql"),
    "a syntax error": (b'{"sql": "SELEC 1"}', "SELEC"),
}
WRONG_SQL: dict[str, tuple[bytes, str]] = {
    "an unknown column": (b'{"sql": "SELECT nope FROM exchanges"}', "nope"),
    "no SELECT": (b'{"sql": "DROP VIEW exchanges"}', "DROP"),
    "another file": (b'{"sql": "FROM read_text(\'/etc/passwd\')"}', "no other file"),
    "two statements": (b'{"sql": "SELECT 1; SELECT 2"}', "one statement"),
}


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        *(pytest.param(*case, id=name) for name, case in WRONG.items()),
        *(pytest.param(*case, id=name, marks=pytest.mark.integration) for name, case in WRONG_SQL.items()),
    ],
)
async def test_a_wrong_query_is_400_in_json(gateway: InProcess, body, said):
    """A request that is wrong is answered 400 with a message, whether the body or the query is at fault."""
    status, answer = await page(gateway, "POST", "/-/sql", JSON, body=body)
    assert status == 400
    assert said in answer["error"]["message"]


@pytest.mark.usefixtures("recorder")
async def test_rows_may_be_objects(gateway: InProcess):
    """With `objects` each row is an object keyed by column."""
    status, answer = await sql(gateway, "SELECT 1 AS a, 'x' AS b", objects=True)
    assert (status, answer["rows"]) == (200, [{"a": 1, "b": "x"}])
