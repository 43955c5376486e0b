"""`kill -9` at any moment: whoever got a whole response is in the store, once; who did not is there as interrupted."""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Self

import duckdb
import pytest

from gateway.providers.http.client import Client, Origin, WireError
from tests.support.gateways import children_of

pytestmark = pytest.mark.integration

CHUNKS = 5


class Upstream:
    """Streams five words of a chat completion, a few milliseconds apart, whatever it is asked."""

    def __init__(self, pause: float) -> None:
        self._pause = pause

    async def __aenter__(self) -> Self:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                await reader.readexactly(length)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for number in range(CHUNKS):
                    delta = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": f"w{number} "}}]}
                    self._chunk(writer, json.dumps(delta).encode())
                    await writer.drain()
                    await asyncio.sleep(self._pause)
                end = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
                self._chunk(writer, json.dumps(end).encode())
                self._chunk(writer, b"[DONE]")
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
        event = b"data: " + data + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))


class Gateway:
    """The real command as a child; its own children are the recorder, then the workers."""

    def __init__(self, folder: Path, upstream: str, workers: int) -> None:
        self._folder = folder
        self.data = folder / "data"
        self._workers = workers
        self._port = 0
        (folder / "gateway.toml").write_text(
            f'[providers.openai]\nbase_url = "{upstream}"\n[store]\nrotate_bytes = 300000\ngrace_seconds = 2.0\n'
            "[retry]\nmax_tries = 1\n"
        )

    async def start(self) -> None:
        self._log = (self._folder / "log").open("ab")
        options = ["--port", str(self._port), "--data", str(self.data), "--workers", str(self._workers)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve", *options, "-c", str(self._folder / "gateway.toml"),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async for line in self.process.stderr:
            self._log.write(line)
            if found := re.search(rb"http://127.0.0.1:(\d+)", line):
                self._port = int(found.group(1))
                break
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self.process.stderr:
            self._log.write(line)
            self._log.flush()

    @property
    def origin(self) -> Origin:
        return Origin("http", "127.0.0.1", self._port)

    def children(self) -> list[int]:
        """Return its children's pids, in the order they were started."""
        return children_of(self.process.pid)

    async def kill_everything(self) -> None:
        for pid in (self.process.pid, *self.children()):
            os.kill(pid, signal.SIGKILL)
        await self._ended()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self._ended()

    async def _ended(self) -> int:
        code = await self.process.wait()
        await self._reading
        self._log.close()
        return code

    def ask(self, sql: str) -> list[tuple]:
        """Ask by a fresh connection to the view file, as any DuckDB would."""
        with duckdb.connect(str(self.data / "spans.duckdb"), read_only=True) as con:
            return con.execute(sql).fetchall()


async def _one(client: Client, origin: Origin, ident: str, whole: set[str]) -> None:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": ident}]}).encode()
    headers = [(b"Content-Type", b"application/json")]
    try:
        response = await client.send(
            origin, b"POST", b"/v1/chat/completions", headers, body, connect_timeout=10, first_byte_timeout=10
        )
        text = b""
        while not response.complete:
            text += await response.read(10)
    except WireError:
        await asyncio.sleep(0.02)
        return
    if response.status == 200 and b"[DONE]" in text:
        whole.add(ident)


async def _load(gateway: Gateway, clients: int, until: float, whole: set[str]) -> int:
    """Send requests from so many clients until then; return how many were sent."""
    sent = 0
    client = Client()

    async def loop() -> None:
        nonlocal sent
        while time.monotonic() < until:
            sent += 1
            await _one(client, gateway.origin, f"id-{sent}", whole)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(loop())
    finally:
        await client.close()
    return sent


async def _killer(gateway: Gateway, until: float, rng: random.Random) -> int:
    """Kill the recorder or a worker, at random, again and again."""
    kills = 0
    while time.monotonic() < until:
        await asyncio.sleep(rng.uniform(0.1, 0.8))
        children = gateway.children()
        if children:
            os.kill(rng.choice(children), signal.SIGKILL)
            kills += 1
    return kills


async def _asker(gateway: Gateway, until: float) -> int:
    """Ask by fresh connections all the while; every one is answered, and no row is there twice."""
    asked = 0
    while time.monotonic() < until:
        ((twice,),) = await asyncio.to_thread(gateway.ask, "SELECT count(*) - count(DISTINCT span_id) FROM spans")
        assert twice == 0
        asked += 1
        await asyncio.sleep(0.2)
    return asked


async def _published(gateway: Gateway) -> bool:
    """Return whether the view file lists every journal."""
    begun = {path.stem for path in (gateway.data / "live").glob("*.jsonl")}
    return begun <= {name for (name,) in await asyncio.to_thread(gateway.ask, "SELECT journal FROM ledger")}


async def _settled(gateway: Gateway) -> tuple[int, int, int, int]:
    """Wait until nothing is in flight, and return accepted, stored, interrupted, dropped.

    A journal begun a moment ago may not be in the view file yet, which is published twice a second at most.
    """
    for _ in range(1200):
        if not await _published(gateway):
            await asyncio.sleep(0.1)
            continue
        ((accepted, stored, interrupted, dropped, in_flight),) = await asyncio.to_thread(
            gateway.ask,
            "SELECT sum(accepted), sum(stored), sum(interrupted), sum(dropped), sum(in_flight) FROM ledger",
        )
        if not in_flight:
            return accepted, stored, interrupted, dropped
        await asyncio.sleep(0.1)
    raise AssertionError("something is in flight, or a journal is not in the view file")


def _check(gateway: Gateway, whole: set[str], counts: tuple[int, int, int, int]) -> None:
    accepted, stored, interrupted, dropped = counts
    assert accepted == stored + interrupted
    assert dropped == 0
    assert gateway.ask("SELECT count(*) - count(DISTINCT span_id) FROM spans") == [(0,)]
    assert gateway.ask("SELECT count(*) FROM exchanges") == [(accepted,)]
    assert gateway.ask("SELECT count(*) FROM exchanges WHERE outcome = 'interrupted'") == [(interrupted,)]
    stored_whole = gateway.ask(
        "SELECT input_messages ->> '$[0].parts[0].content' FROM attempts JOIN exchanges e ON e.span_id = exchange_id "
        "WHERE attempts.outcome = 'ok' AND e.outcome = 'ok'"
    )
    idents = [row[0] for row in stored_whole]
    assert len(idents) == len(set(idents))
    assert whole <= set(idents)


async def _under_fire(tmp_path: Path, seconds: float, clients: int) -> None:
    rng = random.Random(7)
    whole: set[str] = set()
    async with Upstream(pause=0.01) as upstream:
        gateway = Gateway(tmp_path, upstream.url, workers=2)
        await gateway.start()
        until = time.monotonic() + seconds
        try:
            sent, kills, asked = await asyncio.gather(
                _load(gateway, clients, until, whole), _killer(gateway, until - 0.5, rng), _asker(gateway, until)
            )
            counts = await _settled(gateway)
            _check(gateway, whole, counts)
        finally:
            code = await gateway.stop()
        assert code == 0
    print(f"sent {sent}, whole {len(whole)}, kills {kills}, asked {asked}, (accepted, stored, ..) {counts}")
    assert kills >= seconds
    assert asked >= seconds
    assert len(whole) > 10 * seconds


@pytest.mark.timeout(60)
async def test_workers_and_recorder_killed_at_random_lose_nothing(tmp_path):
    """Under load, with kills several times a second: accepted = stored + interrupted, none twice, all answers kept."""
    await _under_fire(tmp_path, 6.0, 16)


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_a_minute_under_fire(tmp_path):
    """The same for a minute."""
    await _under_fire(tmp_path, 60.0, 32)


@pytest.mark.timeout(60)
async def test_everything_killed_at_once_is_whole_after_the_next_start(tmp_path):
    """After a kill of all processes the next start stores what was in flight as interrupted, and nothing twice."""
    whole: set[str] = set()
    async with Upstream(pause=0.05) as upstream:
        gateway = Gateway(tmp_path, upstream.url, workers=2)
        await gateway.start()
        load = asyncio.create_task(_load(gateway, 20, time.monotonic() + 30, whole))
        try:
            for _ in range(400):
                if whole and await _published(gateway):
                    break
                await asyncio.sleep(0.05)
        finally:
            await gateway.kill_everything()
            load.cancel()
            await asyncio.wait({load})
        readable_before = gateway.ask("SELECT count(*) FROM exchanges")[0][0]
        await gateway.start()
        try:
            counts = await _settled(gateway)
            _check(gateway, whole, counts)
        finally:
            code = await gateway.stop()
        assert readable_before == counts[1]
        assert counts[2] >= 1
        assert code == 0


async def _streams(tmp_path: Path, count: int) -> None:
    whole: set[str] = set()
    async with Upstream(pause=0.6) as upstream:
        gateway = Gateway(tmp_path, upstream.url, workers=1)
        await gateway.start()
        client = Client()
        try:
            streams = [asyncio.create_task(_one(client, gateway.origin, f"id-{n}", whole)) for n in range(count)]
            await asyncio.sleep(2.0)
            os.kill(gateway.children()[0], signal.SIGKILL)
            await asyncio.gather(*streams)
            counts = await _settled(gateway)
            _check(gateway, whole, counts)
        finally:
            await client.close()
            code = await gateway.stop()
        assert counts == (count, count, 0, 0)
        assert len(whole) == count
        assert code == 0


@pytest.mark.timeout(90)
async def test_a_thousand_streams_do_not_notice_the_recorders_death(tmp_path):
    """1,000 concurrent streams, the recorder killed in the middle: every one is whole, and stored once."""
    await _streams(tmp_path, 1000)
