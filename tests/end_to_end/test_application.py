"""An application with OpenTelemetry's own SDK, its calls through the gateway: one tree, wherever it is read."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.support.gateways import Process, ask, to
from tests.support.otlp_receiver import Receiver, attributes_of
from tests.support.otlp_spans import send, span, wrapped
from tests.support.upstream import Upstream, reply

ANSWER = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-5-1",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}  # fmt: skip


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


async def until(done: Callable[[], object]) -> None:
    """Wait until something has come about."""
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


@contextmanager
def traced(endpoint: str, compression: Compression) -> Iterator[trace.Tracer]:
    """Give an application's tracer, whose spans go to an endpoint and are there when it is left."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop", "deployment.environment.name": "test"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", compression=compression)))
    yield provider.get_tracer("shop.orders", "1.2")
    provider.shutdown()


def order(gateway_url: str, compression: Compression) -> str:
    """Answer an order, as the application does; return the trace's id."""
    with (
        traced(gateway_url, compression) as tracer,
        openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="sk-x", max_retries=0) as client,
        tracer.start_as_current_span("POST /orders", kind=trace.SpanKind.SERVER) as root,
    ):
        with tracer.start_as_current_span("look up", attributes={"db.system.name": "sqlite", "rows": 3}) as step:
            step.add_event("cache miss", {"key": "order-7"})
        headers: dict[str, str] = {}
        propagate.inject(headers)
        client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "hello"}], extra_headers=headers
        )
        return format(root.get_span_context().trace_id, "032x")


@pytest.mark.integration
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_one_tree_by_sql_by_jaegers_api_and_at_the_collector(
    upstream: Upstream, receiver: Receiver, tmp_path: Path, compression: Compression
):
    """The application's spans above the exchange and its attempt; each of its own service, with all that it says."""
    upstream.answers(reply(ANSWER))
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with Process(tmp_path, to(upstream.url), environ=environ) as gateway:
        trace_id = await asyncio.to_thread(order, gateway.url, compression)
        path = f"{gateway.url}/-/jaeger/api/traces/{trace_id}"
        shown = await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(path, timeout=20)))
        await until(lambda: len(receiver.names) >= 4)
    tree = ["POST /orders", "look up", "POST /v1/chat/completions", "chat gpt-5"]
    rows = ask(
        gateway.data,
        "SELECT s.name, s.service_name, s.origin, above.name FROM spans s LEFT JOIN spans above "  # noqa: S608
        f"ON above.span_id = s.parent_span_id WHERE s.trace_id = '{trace_id}' ORDER BY s.start_ns",
    )
    assert rows == [
        (tree[0], "shop", "otlp", None),
        (tree[1], "shop", "otlp", tree[0]),
        (tree[2], "gateway", "gateway", tree[0]),
        (tree[3], "gateway", "gateway", tree[2]),
    ]
    (jaegers,) = shown["data"]
    services = {name: process["serviceName"] for name, process in jaegers["processes"].items()}
    assert {each["operationName"]: services[each["processID"]] for each in jaegers["spans"]} == {
        tree[0]: "shop", tree[1]: "shop", tree[2]: "gateway", tree[3]: "gateway",
    }  # fmt: skip
    (process,) = [each for each in jaegers["processes"].values() if each["serviceName"] == "shop"]
    assert {"key": "deployment.environment.name", "type": "string", "value": "test"} in process["tags"]
    sent = {each.name: (of, part) for _, request in receiver.requests for of in request.resource_spans
            for part in of.scope_spans for each in part.spans}  # fmt: skip
    assert sorted(receiver.names) == sorted(tree), "each once"
    of, part = sent["look up"]
    assert attributes_of(of.resource)["service.name"] == "shop"
    assert attributes_of(of.resource)["telemetry.sdk.language"] == "python"
    assert (part.scope.name, part.scope.version) == ("shop.orders", "1.2")
    (looked_up,) = [each for each in part.spans if each.name == "look up"]
    assert attributes_of(looked_up) == {"db.system.name": "sqlite", "rows": 3}
    assert [(event.name, attributes_of(event)) for event in looked_up.events] == [("cache miss", {"key": "order-7"})]
    assert attributes_of(sent["chat gpt-5"][0].resource)["service.name"] == "gateway"


@pytest.mark.integration
async def test_a_span_that_comes_again_is_passed_on_once(receiver: Receiver, tmp_path: Path):
    """A sender that repeats itself, or a collector that sends back what it was sent, makes no endless round."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with Process(tmp_path, environ=environ) as gateway:
        for _ in range(3):
            assert (await send(gateway.url, wrapped([span(1), span(2)]))).status == 200
            await until(lambda: receiver.names)
        assert (await send(gateway.url, wrapped([span(3)]))).status == 200
        await until(lambda: "work 3" in receiver.names)
    assert receiver.names == ["work 1", "work 2", "work 3"]


@pytest.mark.integration
async def test_an_endless_round_ends(tmp_path: Path):
    """A gateway whose collector is itself stores what it is sent once, and its own spans once."""
    async with Process(tmp_path, environ={"OTEL_METRICS_EXPORTER": "none"}) as first:
        port = first.url.rpartition(":")[2]
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with Process(tmp_path, "", "--port", port, environ=environ) as gateway:
        assert (await send(gateway.url, wrapped([span(1)]))).status == 200
        came = "SELECT count(*) FROM received_spans"
        await until(lambda: ask(gateway.data, came) == [(2,)])
        await asyncio.sleep(0.5)  # ten rounds
        assert ask(gateway.data, came) == [(2,)]
        assert ask(gateway.data, "SELECT count(*) FROM spans") == [(1,)]
