"""One worker: its counts, its header limits, its demo provider, and configurations applied while it runs."""

import asyncio
from pathlib import Path

import pytest

from gateway.config.model import parse
from gateway.errors import ConfigError
from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, exchange, request
from tests.support.sdks import FOREVER
from tests.support.upstream import Asked, Step, Upstream


async def test_a_worker_counts_what_it_does(upstream: Upstream, gateway: InProcess):
    """Exchanges are accepted and stored, unknown paths and pages are not, and nothing is in flight at the end."""
    for path in ("/v1/models", "/openai/nope", "/nope", "/-/health"):
        await exchange(gateway.url, request("GET", path))
    health = gateway._worker.health()
    assert (health["accepted"], health["stored"], health["in_flight"]) == (2, 2, 0)
    assert len(upstream.asked) == 2


async def test_a_drain_can_be_cut_short(upstream: Upstream, tmp_path: Path):
    """A worker in a hurry cancels the requests in flight, however long they may be drained, and records them."""
    asked = asyncio.Event()

    def thinking(_: Asked) -> list[Step]:
        asked.set()
        return [FOREVER]

    upstream.answer = thinking
    hurry = asyncio.Event()
    async with InProcess(tmp_path / "data", to(upstream.url, "[limits]\ndrain_seconds = 3600.0\n")) as gateway:
        asking = asyncio.ensure_future(exchange(gateway.url, request("GET", "/v1/models")))
        await asked.wait()
        stopping = asyncio.ensure_future(gateway._worker.stop(hurry, 0.01))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        hurry.set()
        await stopping
        await asyncio.wait([asking])
    assert gateway.exchange()["outcome"] == "shutdown"


async def test_large_heads_are_taken(upstream: Upstream, gateway: InProcess):
    """Heads larger than aiohttp's default are accepted: real clients send long beta headers and cookies."""
    headers = [(f"x-beta-{n}", "b" * 200) for n in range(120)] + [("Cookie", "c" * 30_000)]
    assert (await exchange(gateway.url, request("GET", "/v1/models", headers))).status == 200
    assert upstream.asked[0].header("cookie") == "c" * 30_000
    assert upstream.asked[0].header("x-beta-119") == "b" * 200


async def test_the_demo_provider_is_there_without_a_key(tmp_path):
    """`demo/...` answers offline and without a key."""
    async with InProcess(tmp_path / "data", to("http://127.0.0.1:9")) as gateway:
        body = b'{"model":"demo/chat","messages":[{"role":"user","content":"hi"}]}'
        answer = await exchange(gateway.url, request("POST", "/v1/chat/completions", [("x-api-key", "k" * 30)], body))
        assert answer.status == 200
        row = gateway.attempt()
        assert (row["provider"], row["request_model"], row["outcome"]) == ("demo", "chat", "ok")


async def test_a_request_for_a_whole_url_is_routed_by_its_path(upstream: Upstream, gateway: InProcess):
    """The absolute form of a proxy request is answered like the origin form."""
    assert (await exchange(gateway.url, request("GET", "http://other.example/v1/models"))).status == 200
    assert (await exchange(gateway.url, request("GET", "http://other.example/healthz"))).body == b'{"status":"ok"}'
    assert [asked.target for asked in upstream.asked] == ["/v1/models"]


async def test_another_configuration_applies_to_later_requests(upstream: Upstream, tmp_path: Path):
    """A configuration applied while a connection is open counts for the next request on it, tokens included."""
    async with (
        Upstream() as second,
        InProcess(tmp_path / "data", to(upstream.url)) as gateway,
        connected(gateway.url) as connection,
    ):
        await connection.send(request("GET", "/v1/models"))
        assert (await connection.answer()).status == 200
        await gateway._worker.use(parse(to(second.url), {}, "second.toml"), {}, "the-token", required=True)
        for headers, status in (([], 401), ([("x-gateway-token", "the-token")], 200)):
            await connection.send(request("GET", "/v1/models", headers))
            assert (await connection.answer()).status == status
    assert (len(upstream.asked), len(second.asked)) == (1, 1)


async def test_a_configuration_that_cannot_work_changes_nothing(upstream: Upstream, tmp_path: Path):
    """A configuration that raises leaves the active one as it was."""
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        with pytest.raises(ConfigError):
            await gateway._worker.use(
                parse("[providers.a]\nprefix = 'a/'", {}, "wrong.toml"), {}, "the-token", required=True
            )
        assert (await exchange(gateway.url, request("GET", "/v1/models"))).status == 200


async def test_health_has_the_status_of_the_configuration(gateway: InProcess):
    """The worker's part of the health has its name, its counts and the status of the configuration."""
    assert gateway.health()["config"] is None
    gateway._worker._status = lambda: {"generation": 3}
    health = gateway.health()
    assert (health["worker"], health["config"]) == ("w0", {"generation": 3})
    assert health["events"] == health["spans_received"] == {"stored": 0, "dropped": {}}
