"""A collector that is away for long: nothing is lost, the recorder does not grow, the gateway stops as quickly."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.gateways import Process, ask, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply

pytestmark = pytest.mark.integration

SECONDS = float(os.environ.get("GATEWAY_OUTAGE_SECONDS", "600"))
# What the recorder may grow by while it holds nothing of what waits: its own caches, and Python's.
GROWS_BY_MIB = 48
CHAT = b'{"model": "gpt-5", "messages": [{"role": "user", "content": "%b"}]}' % (b"why? " * 400)
ANSWER = {
    "id": "c1", "model": "gpt-5-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "because " * 400}, "finish_reason": "stop"}],
}  # fmt: skip


def mebibytes(pid: int) -> float:
    """Return how much memory of its own a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024


async def traffic(gateway: Process, seconds: float, memory: list[float]) -> int:
    """Send requests for a time, and see how large the recorder is; return how many there were."""
    until, sent = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        await asyncio.gather(
            *(exchange(gateway.url, request("POST", "/v1/chat/completions", [JSON], CHAT)) for _ in range(8))
        )
        sent += 8
        memory.append(mebibytes(gateway.children()[0]))
        await asyncio.sleep(0.2)
    return sent


JSON = ("Content-Type", "application/json")


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_ten_minutes_without_a_collector(upstream: Upstream, tmp_path: Path, protocol: str):
    """With traffic all the while: afterwards it has each span that is stored, once, and the recorder is no larger."""
    upstream.answers(reply(ANSWER))
    with Collector(tmp_path) as collector:
        endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        toml = to(upstream.url, "[store]\nrotate_bytes = 2000000\ngrace_seconds = 1.0\n")
        async with Process(tmp_path, toml, environ=environ) as gateway:
            memory: list[float] = []
            await traffic(gateway, 10, memory)
            before, memory = max(memory), []
            collector.kill()
            sent = await traffic(gateway, SECONDS, memory)
            after_outage = max(memory)
            began = time.monotonic()
            assert await gateway.stop() == 0
            stopped_in = time.monotonic() - began
            await gateway.start()
            collector.start()
            (stored,) = ask(gateway.data, "SELECT count(*) FROM spans")[0]
            for _ in range(2400):
                if len(collector.spans()) >= stored:
                    break
                await asyncio.sleep(0.05)
            drained_in, arrived = time.monotonic() - began, [each["span_id"] for each in collector.spans()]
            wanted = {span_id for (span_id,) in ask(gateway.data, "SELECT span_id FROM spans")}
    print(
        f"\n{protocol}: {sent} exchanges in {SECONDS:.0f} s without a collector; recorder {before:.0f} MiB before, "
        f"{after_outage:.0f} at most; stopped in {stopped_in:.1f} s; {len(arrived)} spans there in {drained_in:.0f} s"
    )
    assert sorted(arrived) == sorted(wanted), "each once"
    assert len(wanted) >= 2 * sent
    assert after_outage < before + GROWS_BY_MIB
    assert stopped_in < 5
