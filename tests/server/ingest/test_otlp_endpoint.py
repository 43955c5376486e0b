"""Telemetry over OTLP: it is stored once, before the response, never counted as exchanges, and never relayed."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from gateway.tracing.tracer import INSTANCE, SCOPE, resource
from tests.support.gateways import InProcess, Process, ask, to
from tests.support.otlp_spans import APP_SPAN, JSON, PROTOBUF, TRACE, as_json, otlp_attributes, send, span, wrapped
from tests.support.raw_http import connected, exchange, request
from tests.support.store import no_file_may_grow
from tests.support.upstream import Upstream, reply

GZIP = ("Content-Encoding", "gzip")
CHAT = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}).encode()
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}], "model": "gpt-5"}


def error_of(answer) -> Status:
    """Return what a refusal in protobuf says."""
    return Status.FromString(answer.body)


def kind_of(answer) -> str:
    """Return the type of an answer."""
    return dict(answer.headers)[b"Content-Type"].decode()


@pytest.mark.parametrize("zipped", [False, True])
async def test_spans_are_accepted_in_protobuf(gateway: InProcess, zipped):
    """The response is empty if all spans are accepted, and has the request's media type."""
    answer = await send(gateway.url, wrapped([span(1), span(2)]), zipped=zipped)
    assert (answer.status, answer.body, kind_of(answer)) == (200, b"", PROTOBUF[1])
    assert [line["name"] for line in gateway.received()] == ["work 1", "work 2"]
    assert gateway.rows() == []  # it is no exchange


@pytest.mark.parametrize("zipped", [False, True])
async def test_spans_are_accepted_in_json(gateway: InProcess, zipped):
    """The response is an empty object if all spans are accepted."""
    body = json.dumps(as_json(wrapped([span(1), span(2)]))).encode()
    answer = await send(gateway.url, body, JSON, zipped=zipped)
    assert (answer.status, json.loads(answer.body), kind_of(answer)) == (200, {}, JSON[1])
    assert [line["name"] for line in gateway.received()] == ["work 1", "work 2"]


async def test_malformed_spans_are_rejected_and_counted(gateway: InProcess):
    """Malformed spans are rejected by partial success; valid ones are stored, and the ledger counts both."""
    body = wrapped([span(1), span(2, trace_id=b"x"), span(3, span_id=bytes(8))])
    answer = ExportTraceServiceResponse.FromString((await send(gateway.url, body)).body).partial_success
    assert answer.rejected_spans == 2
    assert answer.error_message == "1 of them: its trace_id has 1 bytes, not 16; 1 of them: its span_id is 0"
    said = json.loads((await send(gateway.url, json.dumps(as_json(body)).encode(), JSON)).body)
    assert said["partialSuccess"]["rejectedSpans"] == "2"
    assert (await send(gateway.url, wrapped([span(4)]))).status == 200  # says what was dropped before it
    assert gateway.ask("SELECT received, received_dropped, accepted, events FROM ledger") == [(3, 4, 0, 0)]
    assert gateway.health()["spans_received"] == {"stored": 3, "dropped": {"malformed": 4}}


async def test_one_tree_from_the_application_to_the_attempt(upstream: Upstream, gateway: InProcess):
    """The application's span is the exchange's parent, in `spans` and in `otel_traces`."""
    upstream.answers(reply(ANSWER))
    app = span(
        1, span_id=APP_SPAN, name="handle", kind=Span.SPAN_KIND_SERVER, attributes=otlp_attributes({"http.route": "/a"})
    )
    above = ("traceparent", f"00-{TRACE.hex()}-{APP_SPAN.hex()}-01")
    sent = request("POST", "/v1/chat/completions", [("Content-Type", "application/json"), above], CHAT)
    await exchange(gateway.url, sent)
    assert (await send(gateway.url, wrapped([app]))).status == 200
    rows = gateway.ask(
        "WITH RECURSIVE tree AS (SELECT *, 0 AS depth FROM spans WHERE parent_span_id IS NULL UNION ALL "
        "SELECT s.*, depth + 1 FROM spans s JOIN tree t ON s.parent_span_id = t.span_id AND s.trace_id = t.trace_id) "
        "SELECT depth, origin, service_name, name, kind FROM tree ORDER BY depth"
    )
    assert rows == [
        (0, "otlp", "shop", "handle", "SERVER"),
        (1, "gateway", "gateway", "POST /v1/chat/completions", "SERVER"),
        (2, "gateway", "gateway", "chat gpt-5", "CLIENT"),
    ]
    ((attributes, resources, scope),) = gateway.ask(
        "SELECT SpanAttributes, ResourceAttributes, ScopeName FROM otel_traces WHERE ServiceName = 'shop'"
    )
    assert (json.loads(attributes), scope) == ({"http.route": "/a"}, "app")
    assert json.loads(resources) == {"service.name": "shop", "host.name": "h1"}


async def test_received_spans_are_no_exchanges_and_no_attempts(gateway: InProcess):
    """Received spans of any kind are in the views of all spans only."""
    spoken = otlp_attributes({"gen_ai.operation.name": "chat", "gen_ai.input.messages": "[]", "gateway.outcome": "ok"})
    kinds = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL, 0)
    many = [span(number, kind=kind, attributes=spoken) for number, kind in enumerate(kinds, 1)]
    assert (await send(gateway.url, wrapped(many))).status == 200
    for view in ("exchanges", "attempts", "messages", "costs", "runs", "steps", "events", "recorded_spans"):
        assert gateway.ask(f"FROM {view}") == [], view
    for view in ("spans", "received", "otel_traces"):
        assert len(gateway.ask(f"FROM {view}")) == 4, view
    counts = gateway.ask("SELECT accepted, stored, in_flight, dropped, attempts, received FROM ledger")
    assert counts == [(0, 0, 0, 0, 0, 4)]
    assert gateway.ask("SELECT sum(input_tokens), count(outcome), count(operation) FROM spans") == [(None, 0, 0)]


async def test_a_span_sent_twice_is_stored_once(gateway: InProcess):
    """OTLP delivers at least once: a client without a response sends the same spans again."""
    for _ in range(3):
        assert (await send(gateway.url, wrapped([span(1), span(2)]))).status == 200
    assert gateway.ask("SELECT count(*), count(DISTINCT span_id) FROM spans") == [(2, 2)]
    assert gateway.ask("SELECT count(*) FROM received_spans") == [(6,)]


async def test_a_duplicate_within_a_request_is_rejected(gateway: InProcess):
    """The second of two equal spans in a request is rejected, like a malformed one."""
    said = ExportTraceServiceResponse.FromString((await send(gateway.url, wrapped([span(1), span(1)]))).body)
    assert (said.partial_success.rejected_spans, said.partial_success.error_message) == (
        1,
        "1 of them: it is there twice",
    )
    assert gateway.ask("SELECT count(*) FROM spans") == [(1,)]


async def test_one_span_id_in_two_traces_is_two_spans(gateway: InProcess):
    """A span id identifies a span within its trace only."""
    body = wrapped([span(1, trace_id=bytes(15) + b"a"), span(1, trace_id=bytes(15) + b"b")])
    answer = await send(gateway.url, body)
    assert (answer.status, answer.body) == (200, b"")
    assert len({line["trace_id"] for line in gateway.received()}) == 2
    assert len({line["span_id"] for line in gateway.received()}) == 1


async def test_the_first_version_of_a_span_stays(gateway: InProcess):
    """A span that is sent again keeps its first values, sealed or not."""
    for name in ("first", "second", "third"):
        assert (await send(gateway.url, wrapped([span(1, name=name), span(2)]))).status == 200
    assert gateway.ask("SELECT name FROM received ORDER BY span_id") == [("first",), ("work 2",)]


async def test_nothing_of_a_span_is_lost_in_sql(gateway: InProcess):
    """Events, links, status and state are in the columns of the Collector's ClickHouse exporter."""
    full = span(
        1,
        trace_state="a=1",
        parent_span_id=APP_SPAN,
        events=[Span.Event(name="retry", time_unix_nano=7, attributes=otlp_attributes({"n": "1"}))],
        links=[Span.Link(trace_id=TRACE, span_id=APP_SPAN, attributes=otlp_attributes({"why": "batch"}))],
        status=SpanStatus(code=2, message="it broke"),
    )
    assert (await send(gateway.url, wrapped([full]))).status == 200
    ((events, links, *rest),) = gateway.ask(
        "SELECT Events, Links, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, Duration, StatusCode, "
        "StatusMessage FROM otel_traces"
    )
    assert json.loads(events) == [{"name": "retry", "time_ns": 7, "attributes": {"n": "1"}}]
    assert json.loads(links) == [{"trace_id": TRACE.hex(), "span_id": APP_SPAN.hex(), "attributes": {"why": "batch"}}]
    assert rest == [
        TRACE.hex(), "0000000000000001", APP_SPAN.hex(), "a=1", "work 1", "Internal", 5_000_000, "Error", "it broke",
    ]  # fmt: skip


# log records

CLAUDE_LOGS = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "claude-code"}}]},
            "scopeLogs": [
                {
                    "scope": {"name": "com.anthropic.claude_code.events", "version": "2.1.197"},
                    "logRecords": [
                        {
                            "timeUnixNano": "1764000000000000000",
                            "observedTimeUnixNano": "1764000000000000000",
                            "body": {"stringValue": "claude_code.user_prompt"},
                            "attributes": [
                                {"key": "event.name", "value": {"stringValue": "user_prompt"}},
                                {"key": "session.id", "value": {"stringValue": "s-1"}},
                                {"key": "prompt", "value": {"stringValue": "mail me@example.com"}},
                            ],
                        },
                        {
                            "timeUnixNano": "1764000001000000000",
                            "severityNumber": 9,
                            "traceId": TRACE.hex(),
                            "spanId": APP_SPAN.hex(),
                            "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}},
                            "attributes": [
                                {"key": "event.name", "value": {"stringValue": "api_request"}},
                                {"key": "session.id", "value": {"stringValue": "s-1"}},
                                {"key": "cost_usd", "value": {"doubleValue": 0.25}},
                            ],
                        },
                    ],
                }
            ],
        }
    ]
}


async def test_logs_of_an_agent_are_joined_to_its_exchanges(upstream: Upstream, tmp_path: Path):
    """Each event is stored once however often it is sent, redacted, with its session, and none reaches a provider."""
    body = json.dumps(CLAUDE_LOGS).encode()
    async with InProcess(tmp_path, to(upstream.url, '[redaction]\nbuiltin = ["emails"]\n')) as gateway:
        for _ in range(3):
            answer = await send(gateway.url, body, JSON, path="/v1/logs")
            assert (answer.status, answer.body) == (200, b"{}")
        assert upstream.asked == []
        upstream.answers(reply(ANSWER))
        session = ("X-Claude-Code-Session-Id", "s-1")
        await exchange(gateway.url, request("POST", "/v1/chat/completions", [JSON, session], CHAT))
        rows = gateway.ask(
            "SELECT l.time::VARCHAR, severity, event_name, body, l.trace_id, l.span_id, session_id, service_name, "
            "(l.attributes ->> '$.cost_usd')::DOUBLE, l.attributes ->> '$.prompt', path "
            "FROM logs l JOIN exchanges USING (session_id) ORDER BY time"
        )
        path = "/v1/chat/completions"
        assert rows == [
            (
                "2025-11-24 16:00:00", None, "user_prompt", "claude_code.user_prompt", None, None, "s-1", "claude-code",
                None, "mail [redacted: email]", path,
            ),
            (
                "2025-11-24 16:00:01", "INFO", "api_request", '{"a":1}', TRACE.hex(), APP_SPAN.hex(), "s-1",
                "claude-code", 0.25, None, path,
            ),
        ]  # fmt: skip
        assert gateway.ask("SELECT logs, logs_dropped, received, stored FROM ledger") == [(6, 0, 0, 1)]
        assert gateway.health()["logs_received"] == {"stored": 6, "dropped": {}}
        headers = (JSON, ("x-gateway-capture", "metadata"))
        assert (await send(gateway.url, body, *headers, path="/v1/logs")).status == 200
        count = "SELECT count(*), count(body), count(attributes ->> '$.prompt') FROM received_logs"
        assert gateway.ask(count) == [(8, 6, 3)]


async def test_metrics_are_dropped_without_a_collector(gateway: InProcess):
    """They are accepted, and malformed ones are rejected, but nothing is stored."""
    request_body = ExportMetricsServiceRequest()
    metrics = request_body.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="good").sum.data_points.add(as_int=1)
    metrics.add(name="bad")
    answer = await send(gateway.url, request_body, path="/v1/metrics")
    partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    assert (partial.rejected_data_points, partial.error_message) == (1, "1 of them: it has no data")
    assert gateway.health()["metrics_received"] == {"stored": 0, "dropped": {"malformed": 1}}


# what is refused


@pytest.mark.parametrize(
    ("body", "headers", "status", "why"),
    [
        (b"", (("Content-Type", "text/plain"),), 415, "application/x-protobuf or application/json"),
        (b"\x0a\xff", (PROTOBUF,), 400, "cut off"),
        (b"no json", (JSON,), 400, "no JSON of OTLP"),
        (b"x", (PROTOBUF, ("Content-Encoding", "br")), 415, "Content-Encoding 'br'"),
        (b"no gzip", (PROTOBUF, ("Content-Encoding", "gzip")), 415, "Content-Encoding 'gzip'"),
        (gzip.compress(wrapped([span(1)]).SerializeToString())[:-4], (PROTOBUF, GZIP), 415, "does not end with"),
        (gzip.compress(wrapped([span(1)]).SerializeToString()) * 2, (PROTOBUF, GZIP), 415, "does not end with"),
    ],
)
async def test_an_undecodable_request_is_refused(gateway: InProcess, body, headers, status, why):
    """The error is a google.rpc.Status in the request's encoding, and nothing is stored."""
    answer = await send(gateway.url, body, *headers)
    assert answer.status == status
    said = error_of(answer).message if PROTOBUF in headers else json.loads(answer.body)["message"]
    assert why in said
    assert gateway.received() == []


async def test_a_body_that_is_too_large_is_refused(upstream: Upstream, tmp_path: Path):
    """The limit of bodies applies before decoding and after."""
    many = wrapped([span(number) for number in range(1, 100)])
    async with InProcess(tmp_path, to(upstream.url, "[limits]\nbody_bytes = 2000\n")) as gateway:
        answer = await send(gateway.url, many)
        assert (answer.status, "2000 bytes" in error_of(answer).message) == (413, True)
        assert (await send(gateway.url, many, zipped=True)).status == 413
        assert (await send(gateway.url, wrapped([span(1)]))).status == 200


async def test_a_span_that_is_too_long_is_rejected_alone(gateway: InProcess):
    """Zero bytes take six bytes each in a journal line; the other spans are stored."""
    body = wrapped([span(1), span(2, name="\0" * (11 * 1024 * 1024)), span(3)])
    answer = ExportTraceServiceResponse.FromString((await send(gateway.url, body)).body).partial_success
    assert (answer.rejected_spans, "more than 67108864" in answer.error_message) == (1, True)
    assert gateway.health()["spans_received"] == {"stored": 2, "dropped": {"too_long": 1}}


async def test_a_full_disk_is_503_with_retry_after(gateway: InProcess):
    """Clients of OTLP retry after a 503; the loss is counted, and spans are accepted once there is space."""
    with no_file_may_grow():
        answer = await send(gateway.url, wrapped([span(1)]))
    assert (answer.status, dict(answer.headers)[b"Retry-After"].decode()) == (503, "10")
    assert "disk_full" in error_of(answer).message or "write_error" in error_of(answer).message
    assert (await send(gateway.url, wrapped([span(1)]))).status == 200
    assert gateway.ask("SELECT received, received_dropped FROM ledger") == [(1, 1)]


async def test_a_required_token_is_checked(upstream: Upstream, tmp_path: Path):
    """The token is accepted as OTEL_EXPORTER_OTLP_HEADERS sends it, and redacted from every row."""
    token = "our-own-token-0123456789"
    async with InProcess(tmp_path, to(upstream.url), token=token) as gateway:
        assert (await send(gateway.url, wrapped([span(1)]))).status == 401
        repeats = span(1, attributes=otlp_attributes({"env": f"TOKEN={token}"}))
        assert (await send(gateway.url, wrapped([repeats]), ("authorization", f"Bearer {token}"))).status == 200
        (line,) = gateway.received()
        assert line["attributes"] == {"env": "TOKEN=[redacted]"}


async def test_a_page_of_another_origin_is_refused(gateway: InProcess):
    """A request from a web page of another origin is refused, as for events."""
    assert (await send(gateway.url, wrapped([span(1)]), ("Origin", "https://evil.example"))).status == 403
    assert gateway.received() == []


async def test_no_telemetry_reaches_a_provider(upstream: Upstream, gateway: InProcess):
    """Telemetry of each signal is taken in both encodings, and other methods and signals are refused here."""
    bodies = {
        "traces": wrapped([span(1)]),
        "logs": ExportLogsServiceRequest(),
        "metrics": ExportMetricsServiceRequest(),
    }
    for signal, body in bodies.items():
        for lead in ("/v1/", "//v1/", "/v1/v1/"):
            path = f"{lead}{signal}"
            answer = await send(gateway.url, body.SerializeToString(), path=path)
            assert (answer.status, answer.body, kind_of(answer)) == (200, b"", PROTOBUF[1]), path
            answer = await send(gateway.url, b"{}", JSON, path=path)
            assert (answer.status, answer.body, kind_of(answer)) == (200, b"{}", JSON[1]), path
        answer = await exchange(gateway.url, request("GET", f"/v1/{signal}", []))
        assert (answer.status, dict(answer.headers)[b"Allow"]) == (405, b"POST")
    for path in ("/v1development/profiles", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"):
        answer = await send(gateway.url, b"", path=path)
        assert (answer.status, "/v1/logs" in error_of(answer).message) == (404, True)
    assert (upstream.asked, gateway.rows()) == ([], [])


async def test_other_paths_are_proxied(upstream: Upstream, gateway: InProcess):
    """OpenAI's own `/v1/traces/ingest` is no path of OTLP: it goes to OpenAI with the client's key."""
    key = ("Authorization", "Bearer sk-proj-0123456789abcdef0123456789abcdef")
    await exchange(gateway.url, request("POST", "/v1/traces/ingest", [JSON, key], b"{}"))
    assert [asked.target for asked in upstream.asked] == ["/v1/traces/ingest"]


async def test_the_gateways_own_spans_are_rejected(gateway: InProcess):
    """Spans that a collector sends back are rejected; those of another gateway are accepted."""
    own = (await asyncio.to_thread(resource, {}, gateway.data)).attributes[INSTANCE]
    ours = InstrumentationScope(name=SCOPE)
    for instance, rejected in ((own, 1), ("another", 0)):
        of = Resource(attributes=otlp_attributes({"service.name": "gateway", INSTANCE: str(instance)}))
        answer = await send(gateway.url, wrapped([span(1)], of, ours))
        assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == rejected
    assert len(gateway.received()) == 1
    assert gateway.health()["spans_received"] == {"stored": 1, "dropped": {"own": 1}}


async def test_the_capture_setting_applies(upstream: Upstream, tmp_path: Path):
    """`[capture] store` applies to received spans as to the gateway's own."""
    spoken = span(1, attributes=otlp_attributes({"gen_ai.input.messages": "[]", "input.value": "hello", "kept": "yes"}))
    async with InProcess(tmp_path, to(upstream.url, '[capture]\nstore = "metadata"\n')) as gateway:
        assert (await send(gateway.url, wrapped([spoken]))).status == 200
        assert [line["attributes"] for line in gateway.received()] == [{"kept": "yes"}]


@pytest.mark.parametrize("encoding", [PROTOBUF, JSON])
def wide_span(number: int, attributes: int) -> Span:
    """Return a span with so many attributes."""
    return span(number, attributes=otlp_attributes({f"attribute.{index}": "x" * 40 for index in range(attributes)}))


def as_json_bytes(body) -> bytes:
    """Return a request in OTLP's JSON."""
    return json.dumps(as_json(body)).encode()


@pytest.mark.parametrize(
    ("body", "encoding", "spans"),
    [
        (lambda: wrapped([wide_span(n, 20) for n in range(1, 3001)]).SerializeToString(), PROTOBUF, 3000),
        (lambda: as_json_bytes(wrapped([wide_span(n, 20) for n in range(1, 1001)])), JSON, 1000),
        (lambda: wrapped([wide_span(1, 40_000)]).SerializeToString(), PROTOBUF, 1),
        (lambda: as_json_bytes(wrapped([wide_span(1, 20_000)])), JSON, 1),
        (lambda: b'{"resourceSpans":[' + b",".join([b"{}"] * 50_000) + b"]}", JSON, 0),
    ],
    ids=["many", "many in json", "wide", "wide in json", "nothing in json"],
)
async def test_a_large_batch_does_not_block_the_event_loop(gateway: InProcess, body, encoding, spans):
    """Other requests are answered while many spans, or one with many attributes, are parsed."""
    turns = 0

    async def serve_others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with connected(gateway.url) as connection:
        sent = request("POST", "/v1/traces", (encoding,), body())
        await connection.send(sent[:-1])
        await asyncio.sleep(0.2)  # all but the last byte has been read
        serving = asyncio.create_task(serve_others())
        await connection.send(sent[-1:])
        assert (await connection.answer("POST")).status == 200
        serving.cancel()
    assert len(gateway.received()) == spans
    assert turns >= 8, "read as a whole there are a handful, of the connection's own"


@pytest.mark.integration
async def test_accepted_spans_survive_kill_9(upstream: Upstream, tmp_path: Path):
    """Every accepted span is in the store, of any worker, and sealed by the next start."""
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        for number in range(1, 41):
            assert (await send(gateway.url, wrapped([span(number)]))).status == 200
        await gateway.kill_everything()
        await gateway.start()
        counts = ask(gateway.data, "SELECT count(*), count(DISTINCT span_id), min(origin) FROM spans")
        assert counts == [(40, 40, "otlp")]
        assert ask(gateway.data, "SELECT sum(received) FROM ledger") == [(40,)]
