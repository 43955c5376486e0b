"""The processes: what dies is started again, what is told to stop drains, and what cannot work says so."""

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
    """Begin a stream and return its open connection once a piece of it has come."""
    opened = connected(gateway.url)
    client = await opened.__aenter__()
    await client.send(STREAM)
    await client.head()
    assert await client.piece() == DELTA
    return opened, client


async def ended(process: asyncio.subprocess.Process) -> int:
    """Wait for a process, within a time that only hanging exceeds."""
    async with asyncio.timeout(30):
        return await process.wait()


async def until_gone(pids: list[int]) -> None:
    """Wait until none of these processes is there."""
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"some of {pids} are still there")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
async def test_a_stop_lets_streams_in_flight_end(upstream: Upstream, tmp_path, number, workers):
    """What is in flight is answered whole and stored, whatever it takes within drain_seconds; then all ends with 0."""
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
async def test_nobody_is_let_in_while_it_drains(upstream: Upstream, tmp_path, workers):
    """Who comes during a stop is refused at once, and can go elsewhere; who is there is answered."""
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
    """What is still in flight then is broken off, and recorded as that."""
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
async def test_a_second_ctrl_c_hurries(upstream: Upstream, tmp_path):
    """A long drain ends at the second signal; what was in flight is stored as interrupted at the next start."""
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
async def test_a_signal_that_comes_twice_at_once_is_one(upstream: Upstream, tmp_path):
    """A terminal and a wrapper may both pass it on; that does not break off what is in flight."""
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
    """One that does not answer is as good as down: health says so within seconds, and the proxy goes on."""
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
async def test_a_query_that_nobody_waits_for_is_stopped(upstream: Upstream, tmp_path):
    """A client of /-/sql that leaves takes the query's process with it; the next one is answered."""

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
    """Whether nobody is there or nobody answers: it is gone within seconds, and the spans wait on disk."""
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
async def test_a_worker_that_dies_is_started_again_and_nobody_is_refused(upstream: Upstream, tmp_path, workers):
    """Connections that come meanwhile wait for the next worker; each is answered."""
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


async def test_a_recorder_that_dies_is_started_again_and_nobody_notices(upstream: Upstream, tmp_path):
    """The proxy goes on; health is well again once the next recorder is there, and SQL is answered."""
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
    """However often it is killed before it serves again: requests are answered, and it comes back when that is over."""
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
async def test_a_child_that_always_dies_ends_the_gateway_with_a_word(tmp_path):
    """A fault that no new start mends is an error that ends it with 1, not a loop."""
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
    """When the parent is killed the children end by themselves, and the data folder and the port are free again."""
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
def test_a_port_that_is_taken_is_said(taken, count):
    """With one worker and with several, the error says where, why, and what to change."""
    with pytest.raises(ConfigError) as failed:
        listen("127.0.0.1", taken, count)
    assert f"127.0.0.1 port {taken}" in str(failed.value)
    assert "--port" in str(failed.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_any_free_port_is_the_same_for_all_workers(host):
    """Port 0 is one port, chosen once; a second gateway cannot join it."""
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
def test_a_host_that_is_not_ours_is_said(host):
    """A name that is unknown, or an address of another machine."""
    with pytest.raises(ConfigError, match="--host"):
        listen(host, 0, 1)
