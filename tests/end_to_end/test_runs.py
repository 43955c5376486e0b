"""Runs through the whole gateway: nothing that was promised is lost, and the trace is one tree wherever it is read."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import duckdb
import pytest

from gateway.ids import run_span_id, step_span_id, trace_id
from tests.support.gateways import InProcess, Process, to
from tests.support.otlp_receiver import Receiver, attributes_of
from tests.support.raw_http import exchange, request
from tests.support.run_events import INNER, RUN, STEP, post_events, step, whole_run
from tests.support.upstream import Upstream, reply

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = {
    "id": "c1", "model": "gpt-5-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}  # fmt: skip


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


async def _until(done: Any, seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not done():
        assert monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


def _of_run() -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("x-gateway-run", RUN), ("x-gateway-step", INNER)]


@pytest.mark.integration
async def test_a_killed_worker_loses_nothing_that_it_promised(upstream: Upstream, tmp_path: Path):
    """Two workers, killed again and again while they are told things: what was answered 202 is stored, all of it."""
    promised: set[str] = set()
    tried: list[list[str]] = []
    rng = random.Random(5)
    async with Process(tmp_path, to(upstream.url, "[store]\nrotate_bytes = 60000\n"), workers=2) as gateway:
        until = monotonic() + 2.5

        async def client(name: int) -> None:
            while monotonic() < until:
                batch = [f"{name}-{len(tried)}-{number}" for number in range(5)]
                tried.append(batch)
                events = [{"type": "note", "event_id": ident, "run_id": RUN, "data": {"n": 1}} for ident in batch]
                try:
                    answer = await post_events(gateway.url, {"events": events})
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.02)
                    continue
                assert answer.status in {202, 503}
                if answer.whole and answer.status == 202:
                    promised.update(batch)

        async def killer() -> None:
            while monotonic() < until - 0.3:
                await asyncio.sleep(rng.uniform(0.1, 0.4))
                if workers := gateway.children()[1:]:
                    os.kill(rng.choice(workers), signal.SIGKILL)

        async with asyncio.TaskGroup() as group:
            group.create_task(killer())
            for name in range(4):
                group.create_task(client(name))
        sql = "SELECT event_id FROM events"
        rows = await _asked(gateway, sql, lambda rows: promised <= {ident for (ident,) in rows})
        stored = {ident for (ident,) in rows}
        ((events, lines),) = gateway.ask("SELECT sum(events), (SELECT count(*) FROM events_raw) FROM ledger")
    assert len(promised) > 50
    assert promised <= stored
    assert all(len(stored.intersection(batch)) in {0, 5} for batch in tried)
    assert events == lines >= len(stored)


@pytest.mark.integration
async def test_one_tree_by_sql_and_at_the_collector(upstream: Upstream, receiver: Receiver, tmp_path: Path):
    """What two workers are told, and the requests between, come together; the recorder is killed before the end."""
    upstream.answers(reply(ANSWER))
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    events = whole_run()
    async with Process(tmp_path, to(upstream.url), workers=2, environ=environ) as gateway:
        for event in events[:3]:
            assert (await post_events(gateway.url, event)).status == 202
        body = json.dumps(CHAT).encode()
        assert (await exchange(gateway.url, request("POST", "/v1/chat/completions", _of_run(), body))).status == 200
        await _until(lambda: len(receiver.names) == 2)  # the exchange and its attempt: all else is open
        await _until((gateway.data / "otlp" / "open.jsonl").exists)
        recorder = gateway.children()[0]
        os.kill(recorder, signal.SIGKILL)
        await _until(lambda: len(gateway.children()) == 3 and recorder not in gateway.children())
        for event in reversed(events[3:]):
            assert (await post_events(gateway.url, event)).status == 202
        await _until(lambda: len(set(receiver.names)) == 5)
        rows = await _asked(
            gateway,
            "SELECT trace_id, span_id, parent_span_id, name, kind FROM spans ORDER BY kind, name",
            lambda rows: len(rows) == 5,
        )
        assert await gateway.stop() == 0
    run, outer, inner = run_span_id(RUN), step_span_id(STEP), step_span_id(INNER)
    by_name = {name: (span_id, parent) for _, span_id, parent, name, _ in rows}
    assert {trace for trace, *_ in rows} == {trace_id(RUN)}
    assert by_name["answer a ticket"] == (run, None)
    assert by_name["retrieve"] == (outer, run)
    assert by_name["tool"] == (inner, outer)
    root = by_name["POST /v1/chat/completions"]
    assert root[1] == inner
    assert by_name["chat gpt-5"][1] == root[0]
    sent = {span.span_id.hex(): span for batch in receiver.batches for span in batch}
    assert {
        (span.trace_id.hex(), span_id, span.parent_span_id.hex() or None, span.name) for span_id, span in sent.items()
    } == {row[:4] for row in rows}
    assert attributes_of(sent[outer])["output.value"] == '{"docs":[]}'
    assert sent[inner].status.code == 2
    assert sent[run].end_time_unix_nano - sent[run].start_time_unix_nano == 50_000_000


async def _asked(gateway: Process, sql: str, enough: Any) -> list[tuple[Any, ...]]:
    """Ask until there is enough: a journal that was begun a moment ago may not be in the view yet."""
    for _ in range(100):
        try:
            rows = gateway.ask(sql)
        except duckdb.Error:
            rows = []
        if enough(rows):
            return rows
        await asyncio.sleep(0.1)
    raise AssertionError(rows)


async def test_requests_of_a_step_are_found_by_it(upstream: Upstream, tmp_path: Path):
    """What a step cost is its exchanges' tokens, summed."""
    upstream.answers(reply(ANSWER))
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        await post_events(gateway.url, whole_run())
        body = json.dumps(CHAT).encode()
        for _ in range(2):
            await exchange(gateway.url, request("POST", "/v1/chat/completions", _of_run(), body))
        sql = "SELECT s.name, s.type, u.exchanges, u.total_tokens FROM steps s JOIN run_usage u USING (run_id, step_id)"
        assert gateway.ask(sql) == [(None, "tool", 2, 14)]


async def test_a_large_batch_holds_up_nobody(upstream: Upstream, tmp_path: Path):
    """While ten thousand events are read, other requests are answered: not behind them."""
    upstream.answers(reply(ANSWER))
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        many = {"events": [step("end", f"s{number}", 1, output="x" * 200) for number in range(10_000)]}
        telling = asyncio.get_running_loop().create_task(post_events(gateway.url, many))
        answered = 0
        while not telling.done():
            body = json.dumps(CHAT).encode()
            await exchange(gateway.url, request("POST", "/v1/chat/completions", _of_run(), body))
            answered += 1
        assert json.loads((await telling).body) == {"accepted": 10_000}
        assert answered > 3
        assert gateway.ask("SELECT count(*) FROM steps") == [(10_000,)]
