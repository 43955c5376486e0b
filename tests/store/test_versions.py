"""Any DuckDB reads the store while the gateway runs and after, and none of them stands in anybody's way."""

import asyncio
import functools
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from tests.support.gateways import Process, to
from tests.support.paths import ROOT
from tests.support.store import exchange, header, journal, small
from tests.support.upstream import Upstream, reply

pytestmark = pytest.mark.integration

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "How are you?"}]}
# Small files and a short grace, so that what is read changes all the while.
TOML = "[store]\nrotate_bytes = 60000\ngrace_seconds = 2.0\n"
COUNTS = """
    SELECT (SELECT count(*) FROM exchanges) AS a, (SELECT count(DISTINCT span_id) FROM attempts) AS b,
        (SELECT count(*) FROM messages) AS c, (SELECT coalesce(sum(accepted), 0) FROM ledger) AS d,
        (SELECT count(*) FROM otel_traces WHERE "SpanAttributes" ->> '$."gen_ai.request.model"' = 'gpt-5') AS e
"""
IN_PYTHON = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True) as con:
    print(*con.execute(sys.argv[2]).fetchone())
"""


@functools.cache
def _installed() -> list[str]:
    """Return what to run of each DuckDB; skip where they cannot be had, but fail in CI."""
    script = ROOT / "tests" / "tools" / "install_duckdbs.sh"
    environ = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        reason = f"no DuckDBs to read with: {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return done.stdout.split()


class Reader:
    """One DuckDB, as a process of its own for every query."""

    def __init__(self, name: str) -> None:
        python_1, python_2, command = _installed()
        self._command = command if name == "command line" else None
        self._python = python_1 if name == "Python 1.5" else python_2

    async def counts(self, data: Path) -> list[int]:
        """Open the view file read only, count, and close it."""
        view = str(data / "spans.duckdb")
        call = [self._python, "-c", IN_PYTHON, view, COUNTS]
        if self._command:
            quiet = ("-cmd", "SET enable_progress_bar = false", "-noheader", "-list", "-separator", " ")
            call = [self._command, "-readonly", *quiet, view, COUNTS]
        process = await asyncio.create_subprocess_exec(*call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), 40)
        assert (process.returncode, err) == (0, b"")
        return [int(word) for word in out.split()]


NAMES = ("Python 1.5", "Python 2.0", "command line")


@asynccontextmanager
async def _traffic(gateway: Process) -> AsyncIterator[list[int]]:
    """Send one request after the other, until the block ends; give how many were answered."""
    answered = [0]
    stop = asyncio.Event()

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            while not stop.is_set():
                async with session.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as response:
                    assert response.status == 200
                    await response.read()
                answered[0] += 1
                await asyncio.sleep(0.01)

    task = asyncio.get_running_loop().create_task(send())
    try:
        yield answered
    finally:
        stop.set()
        await task


async def test_all_count_the_same_under_traffic_and_after(upstream: Upstream, tmp_path, read):
    """Each sees what was answered a moment before it asked, never less than another before it, and all see the same."""
    readers = [Reader(name) for name in NAMES]
    upstream.answers(reply(read("chat_whole.json")))
    async with Process(tmp_path, to(upstream.url, TOML), workers=2) as gateway:
        async with _traffic(gateway) as answered:
            before = 0
            for _ in range(3):
                for reader in readers:
                    exchanges, attempts, *_ = await reader.counts(gateway.data)
                    assert exchanges >= before
                    assert attempts >= before
                    before = exchanges
                    await _sees(reader, gateway.data, answered[0])
            await _sealed(gateway)
        await _sees(readers[0], gateway.data, answered[0])
        running = await asyncio.gather(*(reader.counts(gateway.data) for reader in readers))
        assert running == [[answered[0], answered[0], 2 * answered[0], answered[0], answered[0]]] * 3
        assert await gateway.stop() == 0
        assert await asyncio.gather(*(reader.counts(gateway.data) for reader in readers)) == running
        assert gateway.ask("SELECT sum(dropped), sum(interrupted), sum(in_flight) FROM ledger") == [(0, 0, 0)]
        assert b"Traceback" not in gateway.log.read_bytes()


async def _sealed(gateway: Process) -> None:
    """Wait until there is a segment."""
    for _ in range(600):
        if list((gateway.data / "segments").glob("*.duckdb")):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was sealed")


class Session:
    """DuckDB's command line, left open as its user leaves it: for reading and writing, since that is its default."""

    def __init__(self, data: Path) -> None:
        self._data = data

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            _installed()[2], "-noheader", "-list", str(self._data / "spans.duckdb"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def say(self, sql: str) -> str:
        """Run a statement and return the last line it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{sql};\nSELECT 'end of answer';\n".encode())
        lines = [""]
        async with asyncio.timeout(40):
            while (line := (await self._process.stdout.readline()).decode().strip()) != "end of answer":
                assert self._process.returncode is None
                lines.append(line)
        return lines[-1]

    async def leave(self) -> bytes:
        """End it in order; return what it said on stderr."""
        _, err = await asyncio.wait_for(self._process.communicate(b".exit\n"), 40)
        return err


async def _sees(reader: Reader, data: Path, exchanges: int) -> None:
    """Read until so many exchanges are there: a new journal is in the view a moment after it was begun.

    So is a view file that can be opened, once somebody else holds the last one.
    """
    failure = None
    for _ in range(100):
        try:
            if (await reader.counts(data))[0] >= exchanges:
                return
            failure = None
        except AssertionError as error:
            failure = error
        await asyncio.sleep(0.1)
    raise failure or AssertionError(f"{exchanges} exchanges are not to be seen")


async def _idle(gateway: Process) -> int:
    """Wait until the view file is replaced no more; return its inode."""
    inodes: list[int] = []
    while len(inodes) < 10 or len(set(inodes[-10:])) > 1:
        inodes.append((gateway.data / "spans.duckdb").stat().st_ino)
        await asyncio.sleep(0.1)
    return inodes[-1]


async def test_a_session_that_may_write_shuts_nobody_out(upstream: Upstream, tmp_path):
    """`duckdb spans.duckdb` locks the file it opened; the gateway puts another in its place, for all others."""
    reader = Reader("Python 2.0")
    async with Process(tmp_path, to(upstream.url, TOML)) as gateway:
        before = await _idle(gateway)
        async with Session(gateway.data) as session:
            assert await session.say("SELECT count(*) FROM exchanges") == "0"
            await _sees(reader, gateway.data, 0)
            assert await _idle(gateway) != before
            async with _traffic(gateway) as answered:
                await _sees(reader, gateway.data, answered[0])
                await _sealed(gateway)
                await _sees(reader, gateway.data, answered[0])
            assert await session.leave() == b""
        await _sees(reader, gateway.data, answered[0])
        assert await gateway.stop() == 0
        assert (await reader.counts(gateway.data))[0] == answered[0]
        assert b"Traceback" not in gateway.log.read_bytes()


async def test_a_session_that_does_write_spoils_nothing(upstream: Upstream, tmp_path):
    """A table that somebody makes in the view file goes with that file; the views stay, and can be opened."""
    reader = Reader("command line")
    async with Process(tmp_path, to(upstream.url, TOML)) as gateway:
        await _idle(gateway)
        async with Session(gateway.data) as session:
            await session.say("CREATE TABLE mine AS SELECT 1 AS a")
            await _sees(reader, gateway.data, 0)
            await _idle(gateway)
            await session.say("INSERT INTO mine SELECT 2")
            await _sees(reader, gateway.data, 0)
        async with _traffic(gateway) as answered:
            for _ in range(2):
                async with Session(gateway.data) as session:
                    await session.say("CREATE TABLE mine AS SELECT 1 AS a")
                    assert await session.say("SELECT count(*) FROM mine") == "1"
                    await _sees(reader, gateway.data, answered[0])
        await _sees(reader, gateway.data, answered[0])
        assert await gateway.stop() == 0
        assert (await reader.counts(gateway.data))[0] == answered[0]


@pytest.fixture(name="oldest", scope="module")
def _oldest(tmp_path_factory) -> str:
    """Make an environment in which everything is as here, but DuckDB is the oldest that is supported."""
    python = Path(_installed()[0])
    folder = tmp_path_factory.mktemp("oldest")
    venv.create(folder, symlinks=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    first = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    names = [first, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    (Path(paths["purelib"]) / "all.pth").write_text("\n".join(dict.fromkeys(names)))
    oldest = str(folder / "bin" / "python")
    ask = [oldest, "-c", "import duckdb; print(duckdb.__version__)"]
    said = subprocess.run(ask, capture_output=True, text=True, check=False)
    if not said.stdout.startswith("1.5."):
        pytest.skip(f"no DuckDB 1.5 for this Python: {said.stderr[-200:]}")
    return oldest


@pytest.mark.parametrize(
    ("sql", "code", "said"),
    [("SELECT count(*) FROM exchanges", 0, "3"), ("FROM read_text('/etc/passwd')", 1, "no other file")],
)
def test_the_oldest_asks_in_the_sandbox(oldest, tmp_path, sql, code, said):
    """The command works with it as it does with the newest; `.ci/run` runs the store's tests with it."""
    data = small(tmp_path / "data")
    command = [oldest, "-m", "gateway", "sql", "--data", str(data), sql]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("writer", ["oldest", "newest"])
async def test_what_one_version_wrote_another_reads(oldest, tmp_path, writer):
    """Files of either version are read by all."""
    data = tmp_path / "data"
    lines = exchange(1, input_messages=[{"role": "user", "parts": []}], attributes={"a": [1, None]})
    script = (
        "import sys; from pathlib import Path; from gateway.store.segments import *; data = Path(sys.argv[1])\n"
        "seal(data / 'live' / 'w0-1.jsonl', data / 'segments' / 'w0-1.duckdb')\n"
        "publish(data, *store_files(data))\n"
    )
    journal(data, [header(), *lines, *exchange(3, ended=False)], "w0-1")
    (data / "segments").mkdir()
    journal(data, exchange(2), "w0-2")
    python = oldest if writer == "oldest" else sys.executable
    await asyncio.to_thread(subprocess.run, [python, "-c", script, str(data)], check=True, cwd=ROOT)
    counts = await asyncio.gather(*(Reader(name).counts(data) for name in NAMES))
    assert counts == [[3, 2, 1, 3, 0]] * 3
