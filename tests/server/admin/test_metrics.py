"""/-/metrics of a running gateway: it agrees with SQL, with several workers, and while they and the recorder die."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.cli.demo import send
from gateway.server.live_config.shared_memory import Gauges
from gateway.store.metrics.instruments import WorkerGauges
from tests.support.gateways import Process, to
from tests.support.metrics_pages import samples, total
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream, reply, stream

OPEN = ("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")


async def page(gateway: Process, *headers: tuple[str, str]) -> Answer:
    """Ask for the page."""
    return await exchange(gateway.url, request("GET", "/-/metrics", [("Host", "localhost"), *headers]).replace(
        b"Host: test\r\n", b""
    ))  # fmt: skip


async def metrics(gateway: Process) -> str:
    """Return the page's text."""
    answer = await page(gateway)
    assert answer.status == 200
    return answer.body.decode()


async def until(gateway: Process, fits: Callable[[str], bool]) -> str:
    """Return the page once it fits."""
    for _ in range(300):
        said = await metrics(gateway)
        if fits(said):
            return said
        await asyncio.sleep(0.05)
    raise AssertionError(said)


async def published(gateway: Process) -> None:
    """Wait until the view file lists the journals of both workers: it is replaced a moment after they begin."""
    for _ in range(300):
        if await asyncio.to_thread(gateway.ask, "SELECT count(*) FROM ledger") == [(2,)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a journal is not in the view file")


async def ask(gateway: Process, body: bytes = b'{"model":"gpt","messages":[]}') -> Answer:
    """Ask for a chat."""
    headers = [("Content-Type", "application/json")]
    return await exchange(gateway.url, request("POST", "/v1/chat/completions", headers, body))


@pytest.fixture(name="demo")
async def _demo(tmp_path: Path) -> AsyncIterator[Process]:
    """Run a gateway of two workers."""
    async with Process(tmp_path, workers=2) as gateway:
        yield gateway


@pytest.mark.integration
async def test_the_page_agrees_with_sql(demo):
    """Exchanges, attempts, retries, tokens and durations are those of the store, over all workers."""
    await send(demo.url, 9, lambda _done, _all: None)
    await published(demo)
    said = await metrics(demo)
    (row,) = demo.ask(
        "SELECT count(*), count(*) FILTER (outcome = 'ok'), sum(retries), sum(duration_ms) / 1e3 FROM exchanges"
    )
    assert total(said, "gateway_exchange_started_total") == row[0] == 45
    assert total(said, "gateway_exchange_ended_total") == row[0]
    assert total(said, "gateway_exchange_ended_total", gateway_outcome="ok") == row[1]
    assert total(said, "gateway_attempt_retries_total") == row[2] > 0
    assert total(said, "http_server_request_duration_seconds_sum") == pytest.approx(row[3])
    assert total(said, "gateway_exchange_active") == 0
    (row,) = demo.ask(
        "SELECT count(*), sum(input_tokens), sum(output_tokens), count(*) FILTER (status_code = 429), "
        "sum(ttfc_ms) / 1e3, sum(duration_ms) / 1e3 FROM attempts"
    )
    assert total(said, "gateway_attempt_ended_total") == row[0]
    assert total(said, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == row[1]
    assert total(said, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == row[2]
    assert total(said, "gateway_attempt_rate_limits_total") == row[3] > 0
    assert total(said, "gen_ai_client_operation_time_to_first_chunk_seconds_sum") == pytest.approx(row[4])
    assert total(said, "gen_ai_client_operation_duration_seconds_sum") == pytest.approx(row[5])
    workers = demo.ask("SELECT count(DISTINCT worker) FROM ledger WHERE stored > 0")
    assert workers == [(2,)]


@pytest.mark.integration
async def test_exemplars_lead_to_traces_of_the_store(demo):
    """Exemplars are in the OpenMetrics format, on request; other readers get the plain format."""
    await send(demo.url, 1, lambda _done, _all: None)
    await published(demo)
    opened, plain = await page(demo, OPEN), await page(demo)
    assert opened.values(b"Content-Type") == [
        b"application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
    ]
    assert plain.values(b"Content-Type") == [b"text/plain; version=0.0.4; charset=utf-8"]
    traces = {each.exemplar["trace_id"] for each in samples(opened.body.decode()) if each.exemplar}
    stored = {row[0] for row in demo.ask("SELECT trace_id FROM exchanges")}
    assert traces
    assert traces <= stored
    assert not [each for each in samples(plain.body.decode()) if each.exemplar]


@pytest.mark.integration
async def test_exchanges_in_flight_and_connections_are_shown(tmp_path):
    """Gauges are sums over all workers, and fall once the responses are complete."""
    gate = asyncio.Event()
    piece = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    async with (
        Upstream(lambda _: stream([piece, gate, piece])) as upstream,
        Process(tmp_path, to(upstream.url), workers=2) as gateway,
    ):
        asking = [asyncio.ensure_future(ask(gateway)) for _ in range(6)]
        said = await until(gateway, lambda said: total(said, "gateway_exchange_active") == 6)
        assert total(said, "gateway_worker_running") == 2
        await until(gateway, lambda said: total(said, "gateway_upstream_connections", gateway_state="used") == 6)
        gate.set()
        await asyncio.gather(*asking)
        said = await until(gateway, lambda said: total(said, "gateway_upstream_connections", gateway_state="idle") == 6)
        assert total(said, "gateway_exchange_active") == 0


@pytest.mark.integration
async def test_a_killed_worker_loses_no_count(tmp_path):
    """Exchanges in flight are interrupted, finished ones stay counted, and the successor adds to them."""
    gate = asyncio.Event()
    async with (
        Upstream(lambda _: reply({"choices": []})) as upstream,
        Process(tmp_path, to(upstream.url)) as gateway,
    ):
        for _ in range(3):
            assert (await ask(gateway)).status == 200
        upstream.answer = lambda _: [gate]
        asking = asyncio.ensure_future(ask(gateway))
        await until(gateway, lambda said: total(said, "gateway_exchange_active") == 1)
        os.kill(gateway.children()[1], signal.SIGKILL)
        await asyncio.wait({asking})
        assert asking.exception() is not None
        upstream.answer = lambda _: reply({"choices": []})
        said = await until(gateway, lambda said: total(said, "gateway_exchange_active") == 0)
        assert (await ask(gateway)).status == 200
        said = await metrics(gateway)
        assert total(said, "gateway_exchange_ended_total", gateway_outcome="ok") == 4
        assert total(said, "gateway_exchange_ended_total", gateway_outcome="interrupted") == 1
        assert total(said, "gateway_exchange_started_total") == 5
        gate.set()


@pytest.mark.integration
async def test_a_restarted_recorder_counts_from_zero(tmp_path):
    """To Prometheus that is a reset; exchanges in flight are counted when they end."""
    gate = asyncio.Event()
    async with (
        Upstream(lambda _: reply({"choices": []})) as upstream,
        Process(tmp_path, to(upstream.url)) as gateway,
    ):
        assert (await ask(gateway)).status == 200
        upstream.answer = lambda _: [gate, *reply({"choices": []})]
        asking = asyncio.ensure_future(ask(gateway))
        await until(gateway, lambda said: total(said, "gateway_exchange_active") == 1)
        old = gateway.children()[0]
        os.kill(old, signal.SIGKILL)
        for _ in range(300):
            if old not in gateway.children() and (await page(gateway)).status == 200:
                break
            await asyncio.sleep(0.05)
        said = await until(gateway, lambda said: total(said, "gateway_exchange_active") == 1)
        assert total(said, "gateway_exchange_ended_total") == 0
        gate.set()
        assert (await asking).status == 200
        said = await until(gateway, lambda said: total(said, "gateway_exchange_active") == 0)
        assert total(said, "gateway_exchange_ended_total", gateway_outcome="ok") == 1


@pytest.mark.integration
async def test_the_store_and_the_recorder_are_shown(demo):
    """The page has files, bytes and sealed journals; without a collector it has no exporter."""
    await send(demo.url, 1, lambda _done, _all: None)
    said = await metrics(demo)
    assert total(said, "gateway_journal_files") == 2
    assert total(said, "gateway_journal_size_bytes") > 1000
    assert total(said, "gateway_store_free_bytes") > 0
    names = {each.name for each in samples(said)}
    assert {"gateway_store_segments", "gateway_store_size_bytes", "gateway_recorder_sealed_total"} <= names
    assert total(said, "gateway_recorder_failures_total") == 0
    assert total(said, "gateway_journal_unread_bytes") == 0
    assert not [name for name in names if name.startswith("gateway_otlp")]
    assert total(said, "target_info", service_name="gateway") == 1


@pytest.mark.integration
async def test_no_label_is_secret_or_personal(tmp_path):
    """No key, user, session, path or content is a label."""
    planted = "sk-planted-0123456789abcdef"
    async with (
        Upstream(lambda _: reply({"choices": [], "model": "gpt-1"})) as upstream,
        Process(tmp_path, to(upstream.url)) as gateway,
    ):
        headers = [
            ("Authorization", f"Bearer {planted}"),
            ("x-gateway-user", "who"),
            ("x-gateway-session", "which"),
        ]
        body = json.dumps({"model": "gpt", "messages": [{"role": "user", "content": "what"}]}).encode()
        target = "/v1/chat/completions?where=here"
        assert (await exchange(gateway.url, request("POST", target, headers, body))).status == 200
        said = (await page(gateway, OPEN)).body.decode()
    assert "gpt-1" in said
    values = {value for each in samples(said) for value in each.labels.values()}
    assert not values & {planted, "who", "which", "what", target}
    assert planted not in said
    assert "completions" not in said


@pytest.mark.integration
async def test_with_a_token_the_page_needs_it(tmp_path):
    """The page needs the token, which Prometheus sends as a bearer token."""
    async with Process(tmp_path, '[auth]\nrequired = true\ntoken = "t"\n') as gateway:
        assert (await page(gateway)).status == 401
        assert (await page(gateway, ("Authorization", "Bearer t"))).status == 200


def test_each_worker_writes_its_own_numbers():
    """Each worker writes its gauges to shared memory mapped before the fork; the last ones are read."""
    gauges = Gauges(2)
    assert gauges.all() == [WorkerGauges(), WorkerGauges()]
    pid = os.fork()
    if not pid:
        gauges.note(1, WorkerGauges(pid=7, connections=3, idle=2))
        os._exit(0)
    os.waitpid(pid, 0)
    gauges.note(0, WorkerGauges(pid=5))
    assert gauges.all() == [WorkerGauges(pid=5), WorkerGauges(pid=7, connections=3, idle=2)]
