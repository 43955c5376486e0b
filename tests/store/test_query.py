"""Asking the store: what comes back, what is refused, and a child that is gone when its time is over."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec
import pytest

from gateway.store import query
from gateway.store.query import QueryError, QueryRefused, QueryTimeout, Result, run_sql, run_sql_async
from gateway.tracing.journal import Journal
from tests.support.gateways import Process, to
from tests.support.paths import ROOT
from tests.support.store import exchange, header, journal, small
from tests.support.upstream import Upstream

ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b"
GATEWAY = (sys.executable, "-m", "gateway")


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory) -> Path:
    """Make a store of two sealed exchanges and one live."""
    return small(tmp_path_factory.mktemp("store") / "data")


async def _sync(data: Path, sql: str, **options) -> Result:
    return await asyncio.to_thread(run_sql, data, sql, **options)


@pytest.fixture(name="run", params=[_sync, run_sql_async], ids=["run_sql", "run_sql_async"])
def _run(request) -> Callable[..., Awaitable[Result]]:
    """Ask in either way."""
    return request.param


def _sandboxes(of: int) -> set[int]:
    """Return the pids of a process's children that are sandboxes."""
    found = subprocess.run(
        ["pgrep", "-P", str(of), "-f", "gateway.store.sandbox"], capture_output=True, text=True, check=False
    )
    return {int(pid) for pid in found.stdout.split()}


def _sandbox(of: int) -> int:
    """Wait until a process has a sandbox as its child."""
    for _ in range(2000):
        if children := _sandboxes(of):
            return children.pop()
        time.sleep(0.01)
    raise AssertionError("no sandbox was started")


def _gone(pid: int) -> bool:
    """Wait until a process runs no more; it may be left for its parent to look at."""
    for _ in range(2000):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        if not state.stdout.strip() or state.stdout.startswith("Z"):
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(name="_no_sandbox_is_left", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever happened to a query, its process is gone."""
    yield
    assert _sandboxes(os.getpid()) == set()


async def test_a_query_gives_columns_types_and_rows(data, run):
    """Live and sealed exchanges alike, in the order asked for."""
    result = await run(data, "SELECT span_id AS id, duration_ms, started_at FROM exchanges ORDER BY id DESC")
    assert (result.columns, result.types) == (["id", "duration_ms", "started_at"], ["VARCHAR", "DOUBLE", "TIMESTAMP"])
    assert result.rows == [[f"{number:016x}", 5.0, "2023-11-14T22:13:20.000000Z"] for number in (3, 2, 1)]
    assert result.truncated is False
    assert result.elapsed_ms > 0


@pytest.mark.integration
@pytest.mark.parametrize(("limit", "rows", "truncated"), [(1, 1, True), (2, 2, True), (3, 3, False), (4, 3, False)])
async def test_no_more_rows_than_asked_for(data, limit, rows, truncated):
    """And it is said when there were more."""
    result = await run_sql_async(data, "FROM exchanges", limit=limit)
    assert (len(result.rows), result.truncated) == (rows, truncated)


async def test_a_query_that_takes_too_long_is_killed(data, run):
    """At its deadline, with a word on what to do about it."""
    with pytest.raises(QueryTimeout, match=r"within 1\.5 s; narrow it by started_at, or allow more time"):
        await run(data, ENDLESS, timeout_s=1.5)


@pytest.mark.integration
async def test_a_query_nobody_waits_for_is_killed(data):
    """Whoever closes the page need not pay for it."""
    asking = asyncio.get_running_loop().create_task(run_sql_async(data, ENDLESS))
    await asyncio.to_thread(_sandbox, os.getpid())
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("DROP VIEW spans", QueryRefused, "only a query can be run here"),
        ("SELECT 1; SELECT 2", QueryRefused, "send one statement, not 2"),
        ("", QueryRefused, "there is no query"),
        ("FROM read_text('/etc/passwd')", QueryRefused, "no other file"),
        ("SELEC 1", QueryError, 'syntax error at or near "SELEC"'),
        ("SELECT modle FROM exchanges", QueryError, '"model"'),
        ("FROM exchange", QueryError, '"exchanges"'),
        ("SELECT '\udce9'", QueryError, "no valid UTF-8"),
    ],
)
async def test_what_is_wrong_is_said(data, sql, kind, said):
    """In DuckDB's own words where it has them, with what was near."""
    with pytest.raises(QueryError, match=said) as caught:
        await run_sql_async(data, sql)
    assert type(caught.value) is kind


async def test_the_line_that_is_wrong_is_the_askers_own(data):
    """What we put round a query does not count."""
    with pytest.raises(QueryError, match=r"LINE 3: WHERE nope = 1\n +\^"):
        await run_sql_async(data, "SELECT *\nFROM exchanges\nWHERE nope = 1")
    with pytest.raises(QueryError, match=r"LINE 2: FRM exchanges"):
        await run_sql_async(data, "SELECT *\nFRM exchanges")


async def test_without_a_data_folder_it_says_what_to_do(tmp_path, run):
    """The folder's name, and the option that names another."""
    with pytest.raises(QueryError, match=r"there is no data folder .*nowhere; start the gateway, or .* --data"):
        await run(tmp_path / "nowhere", "SELECT 1")


async def test_an_empty_folder_is_an_empty_store(tmp_path):
    """A gateway that has just been started has no exchanges, and that is no error."""
    assert (await run_sql_async(tmp_path, "SELECT count(*) FROM exchanges")).rows == [[0]]


async def test_the_store_may_change_while_it_is_asked(tmp_path):
    """Every query sees what was written before it."""
    data = tmp_path / "data"
    worker = await asyncio.to_thread(Journal, data / "live", "w0", {}, rotate_bytes=10**6, rotate_seconds=60.0)
    for number in range(3):
        worker.start(number, exchange(number)[0])
        worker.end(number, exchange(number)[2])
        assert (await run_sql_async(data, "SELECT count(*) FROM exchanges")).rows == [[number + 1]]
    worker.close()


async def test_links_in_the_folder_are_followed(tmp_path):
    """Segments that were moved to another disk can be asked where a link leads there."""
    data = await asyncio.to_thread(small, tmp_path / "data")
    (data / "segments").rename(tmp_path / "far")
    (data / "segments").symlink_to(tmp_path / "far")
    (tmp_path / "link").symlink_to(data)
    assert (await run_sql_async(tmp_path / "link", "SELECT count(*) FROM exchanges")).rows == [[3]]


@pytest.mark.integration
async def test_no_environment_of_ours_is_in_the_sandbox(data, monkeypatch):
    """A query's process has no key in its environment to begin with."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    asking = asyncio.get_running_loop().create_task(run_sql_async(data, ENDLESS))
    child = await asyncio.to_thread(_sandbox, os.getpid())
    environment = Path(f"/proc/{child}/environ")
    if environment.exists():
        assert b"sk-planted" not in environment.read_bytes()
    assert set(query._environment()) == {"PYTHONPATH", "PATH", "LANG", "TZ"}
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_sandbox_that_dies_is_told_of(data, monkeypatch):
    """What is not an answer is an error that says how it ended."""
    monkeypatch.setattr(query, "_COMMAND", (sys.executable, "-c", "raise SystemExit('no room left')"))
    with pytest.raises(QueryError, match="ended with code 1, most likely for lack of memory: no room left"):
        await run_sql_async(data, "SELECT 1")


async def test_a_long_question_and_a_long_answer_pass(data):
    """Both are larger than a pipe holds."""
    words = "x" * 300_000
    result = await run_sql_async(data, f"SELECT '{words}' AS a, repeat('y', 5000000) AS b")
    assert [len(cell) for cell in result.rows[0]] == [300_000, 5_000_000]
    assert msgspec.json.encode(result)


def _command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([*GATEWAY, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_has_a_deadline(data):
    """`--timeout` is in seconds."""
    with _command("sql", "--data", data, "--timeout", "1.5", ENDLESS) as process:
        out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (1, "")
    assert "the query did not end within 1.5 s" in err
    assert "Traceback" not in err


@pytest.mark.integration
async def test_the_command_asks_a_gateway_that_runs_and_one_that_was_stopped(upstream: Upstream, tmp_path):
    """It needs no server, and what was answered a moment ago is there."""
    ask = ("sql", "--json", "--data", tmp_path / "data", "SELECT path, status_code, outcome FROM exchanges")
    expected = '{"path":"/v1/models","status_code":200,"outcome":"ok"}\n'

    def said() -> tuple[str, str]:
        with _command(*ask) as process:
            return process.communicate(timeout=40)

    async with Process(tmp_path, to(upstream.url)) as gateway:
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/v1/models") as response:
            await response.read()
        assert await asyncio.to_thread(said) == (expected, "")
        assert await gateway.stop() == 0
        assert await asyncio.to_thread(said) == (expected, "")


@pytest.mark.integration
def test_ctrl_c_ends_the_command_and_its_query(data):
    """Without a traceback, and without leaving the query's process behind."""
    with _command("sql", "--data", data, "--timeout", "60", ENDLESS) as process:
        child = _sandbox(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in err
    assert _gone(child)


def test_a_store_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    """A segment that is no database is named, so that somebody can look at it."""
    data = tmp_path / "data"
    journal(data, [header(), *exchange(1)])
    (data / "segments").mkdir()
    (data / "segments" / "w0-0.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(QueryError, match=r"w0-0\.duckdb"):
        run_sql(data, "FROM exchanges")


LIMITS = {
    "Max cpu time": "62",  # twice the deadline, and two seconds
    "Max file size": "0",
    "Max core file size": "0",
    "Max address space": str(1024**3 + 2 * 1024**3),
}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused(data, seconds):
    """A query without an end, or without a beginning, is not started."""
    with pytest.raises(QueryError, match="the time limit must be"):
        run_sql(data, "SELECT 1", timeout_s=seconds)


async def test_a_sandbox_has_limits_that_hold_without_its_parent(data):
    """The parent kills it at the deadline; if the parent died, the kernel ends it by its CPU time."""
    running = asyncio.create_task(run_sql_async(data, ENDLESS, timeout_s=30, memory_mb=1024))
    child = await asyncio.to_thread(_sandbox, os.getpid())
    for _ in range(500):
        limits = await asyncio.to_thread(Path(f"/proc/{child}/limits").read_text)
        found = {
            name: line[len(name) :].split() for line in limits.splitlines() for name in LIMITS if line.startswith(name)
        }
        if found["Max file size"][0] == "0":
            break
        await asyncio.sleep(0.02)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert {name: (soft, hard) for name, (soft, hard, *_) in found.items()} == {
        name: (value, value) for name, value in LIMITS.items()
    }
