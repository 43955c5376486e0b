"""The supervisor: restarts of children, stops that drain, and errors at the start."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.server.supervisor import listen
from tests.support.gateways import Process, to
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import Asked, Step, Upstream, reply, stream

JSON = ("Content-Type", "application/json")
STREAM = request(
    "POST", "/v1/chat/completions", [JSON], b'{"model":"m","stream":true,"stream_options":{},"messages":[]}'
)
MODELS = request("GET", "/v1/models")
DELTA = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"w"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE hash(a.range + b.range) = 1"


def sql(query: str) -> bytes:
    """Return a request for a query."""
    body = json.dumps({"sql": query}).encode()
    return request("POST", "/-/sql", [JSON], body).replace(b"Host: test", b"Host: localhost")


async def begun(gateway: Process) -> tuple[Any, Any]:
    """Start a stream; return its open connection after its first chunk."""
    opened = connected(gateway.url)
    client = await opened.__aenter__()
    await client.send(STREAM)
    await client.head()
    assert await client.piece() == DELTA
    return opened, client


async def ended(process: asyncio.subprocess.Process) -> int:
    """Return the exit code of a process, which has 30 seconds to end."""
    async with asyncio.timeout(30):
        return await process.wait()


async def until_gone(pids: list[int]) -> None:
    """Wait until these processes have ended."""
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"some of {pids} are still there")


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 2, marks=pytest.mark.integration)]
)
async def test_a_stop_lets_streams_in_flight_end(upstream: Upstream, tmp_path, number, workers):
    """Streams in flight end within drain_seconds and are stored; then the gateway exits with 0."""
    upstream.answers(stream([DELTA, 1.0, DELTA, DONE]))
    async with Process(tmp_path, to(upstream.url), workers=workers) as gateway:
        children = gateway.children()
        assert len(children) == 1 + workers
        opened, client = await begun(gateway)
        if number == signal.SIGINT:  # a terminal's Ctrl-C reaches everyone
            for pid in children:
                os.kill(pid, number)
        stopping = asyncio.get_running_loop().create_task(gateway.stop(number))
        assert await client.rest() == DELTA + DONE
        assert client.whole
        await opened.__aexit__(None, None, None)
        assert await asyncio.wait_for(stopping, 30) == 0
        await until_gone(children)
    assert "Traceback" not in gateway.log.read_text()
    assert gateway.ask("SELECT outcome, attempts FROM exchanges") == [("ok", 1)]
    assert gateway.ask("SELECT accepted, stored, in_flight, interrupted FROM ledger WHERE accepted > 0") == [
        (1, 1, 0, 0)
    ]


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
async def test_new_connections_are_refused_while_it_drains(upstream: Upstream, tmp_path, workers):
    """New connections are refused at once during a stop, and requests in flight are answered."""
    released = False

    def answer(asked: Asked) -> Iterator[Step]:
        if asked.method == "GET":
            yield from reply({"data": []})
            return
        yield from stream([DELTA])[:-1]
        while not released:
            yield 0.02
        yield from stream([DONE])[1:]

    upstream.answer = answer
    async with Process(tmp_path, to(upstream.url, "[limits]\ndrain_seconds = 30.0\n"), workers=workers) as gateway:
        opened, client = await begun(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        refused = False
        while not refused:
            try:
                await asyncio.wait_for(exchange(gateway.url, MODELS), 20)
            except ConnectionRefusedError:
                refused = True
            except ConnectionResetError:  # it came at the very moment
                continue
        released = True
        assert await client.rest() == DONE
        assert client.whole
        await opened.__aexit__(None, None, None)
        assert await ended(gateway.process) == 0


@pytest.mark.integration
async def test_a_stop_does_not_wait_longer_than_drain_seconds(upstream: Upstream, tmp_path):
    """Streams still in flight after drain_seconds are cancelled, and recorded as cancelled."""
    upstream.answers(stream([DELTA, 60.0]))
    async with Process(tmp_path, to(upstream.url, "[limits]\ndrain_seconds = 0.3\n")) as gateway:
        opened, client = await begun(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        assert await ended(gateway.process) == 0
        assert DONE not in await client.rest()
        assert not client.whole
        await opened.__aexit__(None, None, None)
    assert gateway.ask("SELECT outcome, status_code FROM exchanges") == [("shutdown", 200)]
    assert gateway.ask("SELECT outcome FROM attempts") == [("shutdown",)]


@pytest.mark.integration
async def test_a_second_ctrl_c_ends_the_drain(upstream: Upstream, tmp_path):
    """A second signal ends a long drain; the next start stores the exchange in flight as interrupted."""
    upstream.answers(stream([DELTA, 300.0]))
    async with Process(tmp_path, to(upstream.url, "[limits]\ndrain_seconds = 250.0\n")) as gateway:
        opened, _ = await begun(gateway)
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.sleep(1.0)
        assert gateway.process.returncode is None
        gateway.process.send_signal(signal.SIGINT)
        assert await ended(gateway.process) == 0
        await opened.__aexit__(None, None, None)
        await gateway.start()
        await gateway.sealed()
        assert gateway.ask("SELECT outcome FROM exchanges") == [("interrupted",)]


@pytest.mark.integration
async def test_a_forwarded_signal_counts_once(upstream: Upstream, tmp_path):
    """A signal that a terminal and a wrapper both forward counts once, and requests in flight go on."""
    upstream.answers(stream([DELTA, 1.0, DONE]))
    async with Process(tmp_path, to(upstream.url)) as gateway:
        opened, client = await begun(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        gateway.process.send_signal(signal.SIGTERM)
        assert await client.rest() == DONE
        await opened.__aexit__(None, None, None)
        assert await ended(gateway.process) == 0
    assert gateway.ask("SELECT outcome FROM exchanges") == [("ok",)]


@pytest.mark.integration
async def test_health_does_not_wait_for_a_recorder_that_hangs(upstream: Upstream, tmp_path):
    """Health reports a recorder that hangs within seconds, and the proxy goes on."""
    health = request("GET", "/-/health")
    async with Process(tmp_path, to(upstream.url)) as gateway:
        recorder, _ = gateway.children()
        assert json.loads((await exchange(gateway.url, health)).body)["status"] == "ok"
        os.kill(recorder, signal.SIGSTOP)
        try:
            assert json.loads((await exchange(gateway.url, health)).body)["status"] == "degraded"
            assert (await exchange(gateway.url, MODELS)).status == 200
        finally:
            os.kill(recorder, signal.SIGCONT)
        assert json.loads((await exchange(gateway.url, health)).body)["status"] == "ok"


@pytest.mark.integration
async def test_the_query_of_a_client_that_left_is_stopped(upstream: Upstream, tmp_path):
    """The query process of a client that leaves /-/sql is killed; the next query is answered."""

    async def rooms(recorder: int, *, some: bool) -> None:
        for _ in range(1000):
            found = await asyncio.create_subprocess_exec("pgrep", "-P", str(recorder), stdout=asyncio.subprocess.PIPE)
            out, _ = await found.communicate()
            if bool(out) == some:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the query's process runs on" if not some else "no query's process runs")

    async with Process(tmp_path, to(upstream.url, "[sql]\ntimeout = 600.0\n")) as gateway:
        recorder, _ = gateway.children()
        async with connected(gateway.url) as client:
            await client.send(sql(ENDLESS))
            await rooms(recorder, some=True)
        await rooms(recorder, some=False)
        assert (await exchange(gateway.url, sql("SELECT 1"))).status == 200


@pytest.mark.integration
@pytest.mark.parametrize("answers", [False, True])
async def test_an_unreachable_collector_does_not_keep_it_from_ending(upstream: Upstream, tmp_path, answers):
    """A collector that refuses or hangs delays a stop by seconds only; its spans stay on disk."""
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        if answers:
            deaf.listen()
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        async with Process(tmp_path, to(upstream.url), environ=environ) as gateway:
            assert (await exchange(gateway.url, MODELS)).status == 200
            gateway.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):  # the stock exporter is waited for 30 s
                assert await gateway.process.wait() == 0
    assert "is killed" not in gateway.log.read_text()
    assert gateway.ask("SELECT count(*) FROM spans") == [(2,)]


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_worker_that_dies_is_restarted(upstream: Upstream, tmp_path, workers):
    """Connections made while a worker is down wait for its successor; each is answered."""
    async with Process(tmp_path, to(upstream.url), workers=workers) as gateway:
        recorder, *victims = gateway.children()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        answers: list[Answer] = await asyncio.gather(*(exchange(gateway.url, MODELS) for _ in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        children = gateway.children()
        assert len(children) == 1 + workers
        assert recorder in children
        assert not set(victims) & set(children)
        assert gateway.log.read_text().count("was killed by signal 9; starting it again") == workers
        assert await gateway.stop() == 0
    assert gateway.ask("SELECT count(*) FROM exchanges WHERE outcome = 'ok'") == [(20,)]


async def test_a_recorder_that_dies_is_restarted(upstream: Upstream, tmp_path):
    """The proxy goes on without a recorder; health and SQL are back with the next one."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        recorder, worker = gateway.children()
        os.kill(recorder, signal.SIGKILL)
        assert (await exchange(gateway.url, MODELS)).status == 200
        query = sql("SELECT count(*) FROM exchanges")
        for _ in range(200):
            answer = await exchange(gateway.url, query)
            if answer.status == 200:
                break
            assert answer.status == 503
            await asyncio.sleep(0.05)
        assert b"[[1]]" in answer.body
        assert worker in gateway.children()
        assert recorder not in gateway.children()
        assert "recorder was killed by signal 9; starting it again" in gateway.log.read_text()


@pytest.mark.integration
@pytest.mark.timeout(90)
async def test_a_recorder_that_keeps_dying_does_not_end_the_proxy(upstream: Upstream, tmp_path):
    """A recorder that has served once is restarted as often as it dies; requests are answered meanwhile."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        _, worker = gateway.children()
        for _ in range(7):
            for _ in range(1000):
                if victims := [pid for pid in gateway.children() if pid != worker]:
                    break
                await asyncio.sleep(0.005)
            os.kill(victims[0], signal.SIGKILL)
            await until_gone(victims)
        assert (await exchange(gateway.url, MODELS)).status == 200
        for _ in range(200):
            if (await exchange(gateway.url, sql("SELECT 1"))).status == 200:
                break
            await asyncio.sleep(0.05)
        assert (await exchange(gateway.url, sql("SELECT 1"))).status == 200
        assert worker in gateway.children()


@pytest.mark.integration
async def test_a_child_that_always_dies_ends_the_gateway(tmp_path):
    """A child that dies at every start ends the gateway with 1 and an error, instead of a loop."""
    gateway = Process(tmp_path, "")
    (gateway.data / "recorder.sock").mkdir(parents=True)  # where the recorder is to listen
    try:
        with pytest.raises(AssertionError, match="the gateway did not start") as failed:
            await gateway.start()
    finally:
        if gateway.process.returncode is None:
            await gateway.stop()
    assert gateway.process.returncode == 1
    assert "recorder ended with code 1 5 times in a row; see the lines above" in str(failed.value)
    assert "IsADirectoryError" in str(failed.value)


@pytest.mark.integration
async def test_children_do_not_outlive_their_parent(upstream: Upstream, tmp_path):
    """Children of a killed parent end by themselves, and release the data directory and the port."""
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        children = gateway.children()
        os.kill(gateway.process.pid, signal.SIGKILL)
        await gateway.process.wait()
        await until_gone(children)
        await gateway.start()
        assert (await exchange(gateway.url, MODELS)).status == 200


@pytest.mark.integration
async def test_a_load_is_shared_by_the_workers(upstream: Upstream, tmp_path):
    """Each of several workers gets some of the connections."""
    upstream.answers(reply({"ok": True}))
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        await asyncio.gather(*(exchange(gateway.url, MODELS) for _ in range(64)))
        assert await gateway.stop() == 0
    assert gateway.ask("SELECT worker FROM ledger WHERE accepted > 0 ORDER BY 1") == [("w0",), ("w1",)]


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_port_in_use_is_an_error(taken, count):
    """The error for a port in use names address, cause and remedy, with one worker and with several."""
    with pytest.raises(ConfigError) as failed:
        listen("127.0.0.1", taken, count)
    assert f"127.0.0.1 port {taken}" in str(failed.value)
    assert "--port" in str(failed.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_any_free_port_is_the_same_for_all_workers(host):
    """Port 0 is one free port for all workers; a second gateway cannot join it."""
    socks = listen(host, 0, 3)
    try:
        (port,) = {sock.getsockname()[1] for sock in socks}
        assert port
        with pytest.raises(ConfigError):
            listen(host, port, 3)
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.1.1.1", "203.0.113.7"])
def test_a_host_of_another_machine_is_an_error(host):
    """An unknown name, and an address of another machine, are errors that name the option."""
    with pytest.raises(ConfigError, match="--host"):
        listen(host, 0, 1)
