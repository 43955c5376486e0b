"""Gateways under test: a worker in the test's own process, and the command as a child process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import duckdb
import msgspec
from aiohttp import web

from gateway.config.model import parse
from gateway.providers.http.client import Origin
from gateway.server.worker import Worker
from gateway.store.segments import store_files
from gateway.tracing.journal_file import locked
from tests.support.store import over


def to(upstream: str, more: str = "") -> str:
    """Return a gateway.toml that sends OpenAI's and Anthropic's requests to `upstream`."""
    return (
        f'[providers.openai]\nbase_url = "{upstream}/v1"\n[providers.anthropic]\nbase_url = "{upstream}"\n'
        f"[retry]\ninitial_backoff = 1.0\njitter = 0.0\n{more}"
    )


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask by a fresh connection to the view file, as any DuckDB would."""
    with duckdb.connect(str(data / "spans.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children, in the order they were started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return sorted(int(each) for each in found.stdout.split())


class InProcess:
    """A worker on the running loop, without a recorder: `rows` reads its journal, `ask` queries the views over it."""

    def __init__(
        self,
        data: Path,
        toml: str = "",
        environ: Mapping[str, str] | None = None,
        token: str | None = None,
        *,
        required: bool = True,
    ) -> None:
        self.data = data
        self._worker = Worker(parse(toml, {}, "test.toml"), data, environ or {}, token=token, required=required)
        self.journal = self._worker.journal
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._worker.start()
        site = web.TCPSite(self._worker.runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._worker.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._worker.stop()

    @property
    def origin(self) -> Origin:
        """Where it listens."""
        return Origin("http", "127.0.0.1", self.port)

    def rows(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the journal's finished spans in the order they ended: SERVER, CLIENT, or both."""
        return [row for row in self._lines("span") if kind in {None, row["kind"]}]

    def events(self) -> list[dict[str, Any]]:
        """Return the journal's lines about what clients told of their runs."""
        return self._lines("event")

    def received(self) -> list[dict[str, Any]]:
        """Return the journal's lines with spans that applications sent."""
        return self._lines("received")

    def _lines(self, what: str) -> list[dict[str, Any]]:
        _, journals = store_files(self.data)
        lines = [msgspec.json.decode(line) for path in journals for line in path.read_bytes().splitlines()]
        return [line for line in lines if line["t"] == what]

    def exchange(self) -> dict[str, Any]:
        """Return the only exchange."""
        (row,) = self.rows("SERVER")
        return row

    def attempt(self) -> dict[str, Any]:
        """Return the only attempt."""
        (row,) = self.rows("CLIENT")
        return row

    async def ended(self, count: int = 1, kind: str = "SERVER") -> None:
        """Wait until so many exchanges (or attempts: CLIENT) have ended: a client that leaves does not see the end."""
        for _ in range(500):
            if len(self.rows(kind)) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.rows(kind))} spans of kind {kind} have ended, not {count}")

    def stopping(self) -> None:
        """Begin to stop, as a supervisor asks a worker to."""
        self._worker.stopping()

    def health(self) -> dict[str, Any]:
        """Return what the worker says of itself."""
        return self._worker.health()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the views over the files of now, as the view file has them."""
        return over(sql, *store_files(self.data))[1]


class Process:
    """The real command as a child; its own children are the recorder, then the workers."""

    def __init__(
        self, folder: Path, toml: str = "", *options: str, environ: Mapping[str, str] | None = None, workers: int = 1
    ) -> None:
        self._folder = folder
        self.data = folder / "data"
        self._environ = {**os.environ, **(environ or {})}
        self._workers = workers
        self._options = options
        self._port = 0
        self.log = folder / "log"
        (folder / "gateway.toml").write_text(toml)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            await self.stop()

    async def start(self) -> None:
        """Start it, on the same port as before, and wait until it says where it listens."""
        said = self.log.open("ab")
        options = ["--port", str(self._port), "--data", str(self.data), "--workers", str(self._workers)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve", *options, "-c", str(self._folder / "gateway.toml"),
            *self._options, stderr=asyncio.subprocess.PIPE, env=self._environ, limit=2**20,
        )  # fmt: skip
        stderr = self.process.stderr
        assert stderr is not None
        async for line in stderr:
            said.write(line)
            if found := re.search(rb"http://[\w.]+:(\d+)", line):
                self._port = int(found.group(1))
                break
        else:
            await self.process.wait()
            said.close()
            raise AssertionError(f"the gateway did not start: {self.log.read_text()}")

        async def read() -> None:
            async for line in stderr:
                said.write(line)
                said.flush()
            said.close()

        self._reading = asyncio.get_running_loop().create_task(read())

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def origin(self) -> Origin:
        """Where it listens."""
        return Origin("http", "127.0.0.1", self._port)

    def children(self) -> list[int]:
        """Return its children's pids, in the order they were started."""
        return children_of(self.process.pid)

    async def kill_everything(self) -> None:
        """Kill it and its children."""
        for pid in (self.process.pid, *self.children()):
            os.kill(pid, signal.SIGKILL)
        await self._ended()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal and return its exit code."""
        self.process.send_signal(number)
        return await self._ended()

    async def _ended(self) -> int:
        code = await self.process.wait()
        await self._reading
        return code

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask by a fresh connection."""
        return ask(self.data, sql)

    async def sealed(self) -> None:
        """Wait until no journal is left that nobody holds; of a stopped gateway that is all of them."""
        for _ in range(200):
            if all(locked(path) for path in store_files(self.data)[1]):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("some journals are not sealed")
