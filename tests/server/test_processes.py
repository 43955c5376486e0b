"""Child processes: worker and recorder, forked from a process without an event loop, as the supervisor forks them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.model import parse
from gateway.server.data_dir import socket_path
from gateway.server.processes import open_recorder
from gateway.store.metrics.instruments import WorkerGauges
from tests.support.gateways import to
from tests.support.raw_http import exchange, request
from tests.support.sdks import FOREVER
from tests.support.upstream import Asked, Step, Upstream

SOURCE = """
import json, os, signal, sys, time
from functools import partial
from pathlib import Path
from gateway.config.layers import Loaded
from gateway.config.model import parse
from gateway.server import processes
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig, Status
from gateway.server.live_config.source import Source
from gateway.server.supervisor import Lifeline, listen

data, toml = Path(sys.argv[1]), sys.argv[2:]

def snapshot(text, token=None):
    empty = {"origins": {}, "written": {}, "read": (), "files": (), "variables": {}}
    loaded = Loaded(config=parse(text, {}, "test.toml"), environ={"MARK": "of the snapshot"}, **empty)
    return ConfigSnapshot(loaded=loaded, token=token, required=token is not None)

def until(holds):
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise SystemExit("timed out")

def say(**values):
    print(json.dumps(values), flush=True)

published = PublishedConfig(2)
published.put(snapshot(toml[0]))
published.set_status(Status(generation=1, loaded_at=0.0))
ready, alive = os.pipe(), os.pipe()
lifeline = Lifeline(ready[1], alive[0])

def fork(main, others=()):
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.close(alive[1])
        code = 1
        try:
            processes.run(main, others, lifeline)
            code = 0
        finally:
            os._exit(code)
    assert os.read(ready[0], 100) == f"{pid} ".encode()
    return pid
"""
WORKER = """
sockets = listen("127.0.0.1", 0, 2)
port = sockets[0].getsockname()[1]
pid = fork(partial(processes.worker, published, 1, data, sockets[1]), [sockets[0]])
for sock in sockets:
    sock.close()
"""


@contextmanager
def parent(script: str, data: Path, *toml: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that forks children; it prints lines of JSON, and reads a line to go on."""
    command = [sys.executable, "-c", SOURCE + script, str(data), *toml]
    pipe = subprocess.PIPE
    with (
        (data / "log").open("wb") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


async def printed(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line of a program."""
    assert process.stdout is not None
    return json.loads(await asyncio.to_thread(process.stdout.readline))


def go_on(process: subprocess.Popen[str]) -> None:
    """Let the program read a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def stopped(process: subprocess.Popen[str]) -> int:
    """Wait for a program; return its exit code."""
    return await asyncio.to_thread(process.wait, 30)


SERVE = """
until(lambda: published.gauges.all()[1].pid)
say(pid=pid, port=port, applied=published.applied.all(), gauges=published.gauges.all()[1].pid)
sys.stdin.readline()
os.kill(pid, signal.SIGTERM)
_, status = os.waitpid(pid, 0)
say(code=os.waitstatus_to_exitcode(status), gauges=published.gauges.all()[1].pid)
"""


async def test_a_worker_serves_its_own_socket_until_sigterm(upstream: Upstream, tmp_path: Path):
    """A worker closes its siblings' sockets, notes its generation and its gauges, and ends with 0 on SIGTERM."""
    with parent(WORKER + SERVE, tmp_path, to(upstream.url)) as process:
        up = await printed(process)
        assert (up["applied"], up["gauges"]) == ([0, 1], up["pid"])
        for _ in range(20):  # a socket of a sibling that were open would take half of them
            answer = await exchange(f"http://127.0.0.1:{up['port']}", request("GET", "/healthz"))
            assert answer.status == 200
        go_on(process)
        assert await printed(process) == {"code": 0, "gauges": 0}
        assert await stopped(process) == 0


APPLY = """
say(port=port)
for text in toml[1:]:
    sys.stdin.readline()
    logged = (data / "log").stat().st_size
    generation = published.put(snapshot(text, "the-token-0123456789"))
    os.kill(pid, signal.SIGHUP)
    until(lambda: published.applied.all()[1] == generation or (data / "log").stat().st_size > logged)
    say(applied=published.applied.all())
sys.stdin.readline()
os.kill(pid, signal.SIGTERM)
os.waitpid(pid, 0)
"""


async def test_a_worker_applies_a_published_configuration_on_sighup(upstream: Upstream, tmp_path: Path):
    """SIGHUP applies the newest configuration; one that cannot work is logged, and the active one stays."""
    wrong = "[providers.a]\nprefix = 'a/'"
    script = WORKER.replace("sockets =", "processes._TICK = 3600.0\nsockets =") + APPLY
    good = to(upstream.url)
    with parent(script, tmp_path, good, wrong, good) as process:
        url = f"http://127.0.0.1:{(await printed(process))['port']}"
        assert (await exchange(url, request("GET", "/v1/models"))).status == 200
        go_on(process)
        assert await printed(process) == {"applied": [0, 1]}
        go_on(process)
        assert await printed(process) == {"applied": [0, 3]}
        assert (await exchange(url, request("GET", "/v1/models"))).status == 401
        go_on(process)
        assert await stopped(process) == 0
    log = (tmp_path / "log").read_text()
    assert log.startswith(
        "w1: the published configuration cannot be applied, and the active one stays: $.providers.a: base_url "
    )
    assert log.count("\n") == 1


ORPHAN = """
os.close(alive[1])
_, status = os.waitpid(pid, 0)
say(code=os.waitstatus_to_exitcode(status))
"""
RECORDER = """
source = Source(data=data, environ={}, cwd=data)
pid = fork(partial(processes.recorder, published, source))
"""


@pytest.mark.parametrize("role", [WORKER, RECORDER], ids=["worker", "recorder"])
async def test_a_child_ends_when_its_parent_is_gone(upstream: Upstream, tmp_path: Path, role: str):
    """The end of file on its lifeline stops a child like SIGTERM."""
    with parent(role + ORPHAN, tmp_path, to(upstream.url)) as process:
        assert await printed(process) == {"code": 0}
        assert await stopped(process) == 0


async def test_an_orphan_does_not_drain(upstream: Upstream, tmp_path: Path):
    """A worker whose parent is gone ends within a second, though a request is in flight and may be drained for long."""
    asked = asyncio.Event()

    def thinking(_: Asked) -> list[Step]:
        asked.set()
        return [FOREVER]

    upstream.answer = thinking
    orphan = "say(port=port)\nsys.stdin.readline()\n" + ORPHAN
    with parent(WORKER + orphan, tmp_path, to(upstream.url, "[limits]\ndrain_seconds = 3600.0\n")) as process:
        url = f"http://127.0.0.1:{(await printed(process))['port']}"
        asking = asyncio.ensure_future(exchange(url, request("GET", "/v1/models")))
        await asked.wait()
        go_on(process)
        assert (await printed(process))["code"] in {0, -signal.SIGALRM}
        await asyncio.wait({asking})


async def test_an_orphan_that_hangs_is_ended(tmp_path: Path):
    """A child that does not come to its end is ended by the kernel."""
    hang = """
async def hang(lifeline, signals):
    os.write(ready[1], f"{os.getpid()} ".encode())
    await signals.orphaned.wait()
    time.sleep(3600)
pid = fork(hang)
"""
    with parent(hang + ORPHAN, tmp_path, "") as process:
        assert await printed(process) == {"code": -signal.SIGALRM}


RELOAD = """
signal.signal(signal.SIGHUP, lambda *_: say(reload=True))
say(pid=pid)
until(lambda: os.waitpid(pid, os.WNOHANG)[0])
"""


async def test_the_recorder_has_the_supervisor_reload(tmp_path: Path):
    """A change of `/-/config` sends SIGHUP to the recorder's parent; the socket is removed at the end."""
    with parent(RECORDER + RELOAD, tmp_path, "") as process:
        recorder = (await printed(process))["pid"]
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket_path(tmp_path)))) as session:
            change = {"candidates": ["demo/chat"]}
            changing = asyncio.ensure_future(session.put("http://localhost/-/config/aliases/a", json=change))
            assert await printed(process) == {"reload": True}
            changing.cancel()
            await asyncio.wait({changing})
        os.kill(recorder, signal.SIGTERM)
        assert await stopped(process) == 0
    assert not socket_path(tmp_path).exists()


async def test_a_recorder_serves_its_pages_and_seals_at_the_end(tmp_path: Path):
    """The pages have the recorder's health and the gauges of workers; a last step runs once it is stopped."""
    config, stop = parse("", {}, "test.toml"), asyncio.Event()
    gauges = [WorkerGauges(pid=7, connections=5, idle=2)]
    async with open_recorder(tmp_path, config, {}, workers=lambda: gauges) as recorder:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket_path(tmp_path)))) as session:
            async with session.get("http://localhost/-/health") as response:
                assert await response.json() == {"sealed": 0, "failures": 0, "otlp": None}
            async with session.get("http://localhost/-/metrics") as response:
                assert 'gateway_upstream_connections{gateway_state="used"} 3.0' in await response.text()
        stop.set()
        await recorder.run(stop)
    assert not socket_path(tmp_path).exists()
    assert (tmp_path / "spans.duckdb").exists()
