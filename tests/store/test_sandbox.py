"""The sandbox: whatever a query does there, only the store is read, and nothing is written."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.store.query import _COMMAND, QueryError, QueryReply, QueryRequest, QueryTimeout, _environment, run_sql
from tests.support.store import small

OUTSIDE = "/tmp/gateway-test-sandbox.parquet"  # noqa: S108  where nothing may be written

REFUSED = {
    "copy a query": "COPY (SELECT 1) TO '{data}/out.csv'",
    "copy over a segment": "COPY (SELECT 1) TO '{segment}'",
    "copy over a journal": "COPY (SELECT 1) TO '{live}'",
    "copy a view": f"COPY exchanges TO '{OUTSIDE}' (FORMAT parquet)",
    "copy from": "COPY spans FROM '{data}/secret.csv'",
    "copy a database": "COPY FROM DATABASE memory TO other",
    "attach a file": "ATTACH '{segment}' AS s",
    "attach memory": "ATTACH ':memory:' AS s",
    "detach": "DETACH memory",
    "use": "USE memory",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET enable_external_access = true",
    "set a variable": "SET VARIABLE x = 1",
    "reset": "RESET lock_configuration",
    "pragma": "PRAGMA memory_limit = '9GB'",
    "call": "CALL pragma_version()",
    "create a table": "CREATE TABLE x AS SELECT 1",
    "create a temporary table": "CREATE TEMP TABLE x AS SELECT 1",
    "create a macro": "CREATE MACRO f(x) AS x",
    "create a secret": "CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')",
    "insert": "INSERT INTO spans SELECT * FROM spans",
    "update": "UPDATE spans SET name = 'x'",
    "delete": "DELETE FROM spans",
    "drop": "DROP VIEW spans",
    "alter": "ALTER VIEW spans RENAME TO x",
    "export": "EXPORT DATABASE '/tmp/out'",
    "import": "IMPORT DATABASE '/tmp/out'",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "begin": "BEGIN",
    "prepare": "PREPARE x AS SELECT 1",
    "execute": "EXECUTE x",
    "explain and run": "EXPLAIN ANALYZE SELECT 1",
    "a second statement": "SELECT 1; COPY (SELECT 1) TO '{data}/out.csv'",
    "a second statement behind a comment": "SELECT 1 /* ; */ ; -- x\nDROP VIEW spans",
    "nothing": "",
    "nothing but a comment": "-- SELECT 1",
    "a text file": "FROM read_text('{data}/secret.csv')",
    "a binary file": "FROM read_blob('/etc/passwd')",
    "a table of text": "FROM read_csv('{data}/secret.csv')",
    "a file of JSON": "FROM read_json('{data}/secret.json')",
    "a Parquet file": "FROM read_parquet('/tmp/x.parquet')",
    "what a Parquet file says of itself": "FROM parquet_metadata('/tmp/x.parquet')",
    "what a file looks like": "FROM sniff_csv('{data}/secret.csv')",
    "a file by its name": "FROM '{data}/secret.csv'",
    "a file by a pattern": "FROM '{data}/*.csv'",
    "a database that is not the store's": "FROM read_duckdb('{data}/other.duckdb', table_name = 't')",
    "the configuration": "FROM read_text('{data}/../gateway.toml')",
    "the view file": "FROM read_blob('{data}/spans.duckdb')",
    "a path that only begins like one of ours": "FROM read_text('{live}.secret')",
    "a path that leads away from ours": "FROM read_text('{live}/../../secret.csv')",
    "a folder of ours": "FROM glob('{data}/live/*')",
    "any folder": "FROM glob('/etc/*')",
    "our own environment": "FROM read_text('/proc/self/environ')",
    "our parent's environment": "FROM read_text('/proc/{parent}/environ')",
    "a device": "FROM read_csv('/dev/stdin')",
    "the network": "FROM read_csv('http://127.0.0.1:9/x.csv')",
    "the network by a name": "FROM 'https://example.com/x.parquet'",
    "a bucket": "FROM 's3://bucket/x.parquet'",
    "secrets": "FROM duckdb_secrets()",
    "a file inside a subquery": "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "a file inside a query of a query": "FROM query('FROM read_text(''/etc/passwd'')')",
}
# These fail too, but DuckDB sees them as nothing in particular: no such function, no such place for such a statement.
FAIL = {
    "a COPY in a WITH": "WITH x AS (COPY (SELECT 1) TO '{data}/out.csv') SELECT 1",
    "a COPY over a segment in a WITH": "WITH x AS (COPY (SELECT 1) TO '{segment}') FROM x",
    "an INSERT in a WITH": "WITH x AS (INSERT INTO spans VALUES (1) RETURNING *) FROM x",
    "a COPY in a subquery": "FROM (COPY (SELECT 1) TO '{data}/out.csv')",
    "a COPY in a query of a query": "FROM query('COPY (SELECT 1) TO ''{data}/out.csv''')",
    "brackets that leave ours": "SELECT 1) TO '{data}/out.csv'; COPY (SELECT 1",
    "brackets that end ours": "SELECT 1) UNION (SELECT 2",
    "a comment without an end": "SELECT 1 /*",
    "the environment": "SELECT getenv('OPENAI_API_KEY')",
    "a setting by a function": "SELECT set_config('enable_external_access', 'true', false)",
    "an object of Python's": "FROM sys",
    "another object of Python's": "FROM request",
    "a parameter": "SELECT $1",
    "a lock": "FROM exchanges FOR UPDATE",
}
ALLOWED = {
    "a SELECT": ("SELECT 1", [[1]]),
    "in any case": ("select 1 As a", [[1]]),
    "a FROM": ("FROM (VALUES (1), (2)) t(a) ORDER BY a DESC", [[2], [1]]),
    "a WITH": ("WITH x AS (SELECT 1 AS a) FROM x", [[1]]),
    "recursion": (
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 3) FROM t",
        [[1], [2], [3]],
    ),
    "VALUES": ("VALUES (1, 2)", [[1, 2]]),
    "a TABLE": ("TABLE exchanges", 3),
    "a PIVOT": ("SELECT * FROM (PIVOT (SELECT kind FROM spans) ON kind IN ('CLIENT') USING count(*))", [[3]]),
    "DESCRIBE": ("DESCRIBE SELECT 1 AS a", 1),
    "SHOW TABLES": ("SHOW TABLES", 18),
    "SUMMARIZE": ("SUMMARIZE SELECT 1 AS a", 1),
    "a semicolon": ("SELECT 1;", [[1]]),
    "semicolons and comments": ("/* a */ SELECT 1 -- b\n ; ; -- c;\n /* d; */", [[1]]),
    "a comment at the end": ("SELECT 1 -- one", [[1]]),
    "semicolons in texts": ("SELECT ';' || $$;--$$", [[";;--"]]),
    "texts that are not ASCII": ("SELECT 'ü' AS \"☃\" ; -- é", [["ü"]]),
    "a query of a query": ("FROM query('SELECT 42')", [[42]]),
    "a macro of DuckDB's": ("SELECT count(*) FROM histogram(exchanges, outcome)", 1),
    "what is locked": (
        "SELECT current_setting('enable_external_access'), current_setting('lock_configuration')",
        [[False, True]],
    ),
}


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory) -> dict[str, object]:
    """Make a store with files beside it that no query may see; give their places."""
    folder = tmp_path_factory.mktemp("store")
    data = small(folder / "data")
    (folder / "gateway.toml").write_text('[auth]\ntoken = "planted"\n')
    (data / "secret.csv").write_text("a,b\n1,planted\n")
    (data / "secret.json").write_text('{"a": "planted"}\n')
    (live,) = (data / "live").glob("*.jsonl")
    (segment,) = (data / "segments").glob("*.duckdb")
    Path(f"{live}.secret").write_text("planted")
    return {"data": data, "live": live, "segment": segment, "parent": 1}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(name="_unchanged", scope="module", autouse=True)
def _nothing_is_written(place) -> Iterator[None]:
    """After all these queries the folder is what it was, byte for byte."""
    before = _contents(place["data"].parent)
    yield
    assert _contents(place["data"].parent) == before
    assert not Path(OUTSIDE).exists()


# A sandbox that replies to a request on each line: one process for a whole table, confined anew for each.
SANDBOX = """
import sys, msgspec
from gateway.store.query import QueryRequest
from gateway.store.sandbox import reply
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(msgspec.json.encode(reply(msgspec.json.decode(line, type=QueryRequest))) + b"\\n")
    sys.stdout.buffer.flush()
"""


@pytest.fixture(name="ask", scope="module")
def _ask(place) -> Iterator[Callable[[str], QueryReply]]:
    """Run queries in one sandbox."""
    with subprocess.Popen(
        [sys.executable, "-c", SANDBOX], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), cwd="/"
    ) as process:

        def ask(sql: str) -> QueryReply:
            assert process.stdin is not None
            assert process.stdout is not None
            request = QueryRequest(data=str(place["data"]), sql=sql, limit=100, timeout=60.0, memory_mb=1024)
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            process.stdin.flush()
            return msgspec.json.decode(process.stdout.readline(), type=QueryReply)

        yield ask


@pytest.mark.parametrize("what", REFUSED)
def test_refused(ask, place, what):
    """Statements that are no query, and queries that reach for what is not the store's, are told so."""
    said = ask(REFUSED[what].format(**place))
    assert (said.result, said.refused) == (None, True)
    assert "planted" not in said.error


@pytest.mark.parametrize("what", FAIL)
def test_not_possible(ask, place, what):
    """What cannot be said here fails as any query with a mistake does."""
    said = ask(FAIL[what].format(**place))
    assert said.result is None
    assert "planted" not in said.error


@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(ask, what):
    """Any query in any of DuckDB's forms of one, with comments and semicolons as people leave them."""
    sql, expected = ALLOWED[what]
    said = ask(sql)
    assert said.error is None
    assert (said.result.rows if isinstance(expected, list) else len(said.result.rows)) == expected


BOMBS = {
    "a cross join": "SELECT count(*) FROM range(10000000) a, range(10000000) b",
    "recursion without an end": "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x FROM t) SELECT count(*) FROM t",
    "a long text": "SELECT length(repeat('x', 2000000000))",
    "many long texts": "SELECT sum(length(repeat('x', 100000000) || range)) FROM range(1000)",
    "a long list": "SELECT list_sum(range(300000000))",
    "a list of all": "SELECT len(list(range)) FROM range(10000000000)",
    "a text of all": "SELECT length(string_agg(range::VARCHAR, ',')) FROM range(10000000000)",
    "a sort of all": "SELECT hash(range) FROM range(10000000000) ORDER BY 1 LIMIT 5 OFFSET 5000000000",
    "all that is distinct": "SELECT count(DISTINCT hash(range)) FROM range(10000000000)",
}


@pytest.mark.parametrize("what", BOMBS)
def test_no_query_takes_more_than_it_may(place, what):
    """Neither time nor memory: it is killed, or is told which limit it met; nothing is spilled to the disk."""
    with pytest.raises(QueryError) as caught:
        run_sql(place["data"], BOMBS[what], timeout_s=2.0, memory_mb=256)
    assert isinstance(caught.value, QueryTimeout) or "memory" in str(caught.value)


def test_memory_is_bounded_by_its_setting(place):
    """The same query fits into more."""
    sql = "SELECT len(list(range)) FROM range(20000000)"
    with pytest.raises(QueryError, match=r"\(limit: \$\.sql\.memory_mb\)"):
        run_sql(place["data"], sql, memory_mb=64)
    assert run_sql(place["data"], sql, memory_mb=2048).rows == [[20_000_000]]


def test_what_scalar_functions_take_is_bounded_too(place):
    """DuckDB does not count it, so the process as a whole has a bound."""
    with pytest.raises(QueryError, match=r"\(limit: \$\.sql\.memory_mb\)"):
        run_sql(place["data"], "SELECT length(repeat(repeat('x', 100000000), 40))", memory_mb=256)


def test_a_query_whose_parent_died_ends_by_itself(place):
    """Nothing kills it at its deadline then, so the CPU time of the process has a limit too."""
    endless = "SELECT count(*) FROM range(1000000000000)"
    request = QueryRequest(data=str(place["data"]), sql=endless, limit=1, timeout=0.5, memory_mb=256)
    orphan = subprocess.run(
        _COMMAND, input=msgspec.json.encode(request), env=_environment(), capture_output=True, timeout=60, check=False
    )
    assert orphan.returncode in {-signal.SIGXCPU, -signal.SIGKILL}
