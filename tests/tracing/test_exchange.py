"""The spans of exchanges over real sockets: their names, places in the trace, attributes and ends."""

import asyncio
import gc
import gzip
import json
import zlib
from typing import Any

import pytest

from gateway.tracing.exchange import LARGE, Exchange
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import CLOSE, Upstream, events, reply, stream

CHAT = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
JSON = ("Content-Type", "application/json")
KEY = "sk-planted-0123456789abcdef"


async def ask(gateway: InProcess, body: Any = CHAT, path: str = "/v1/chat/completions", *headers: Any) -> Answer:
    """Post JSON to the gateway and return what came back."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], json.dumps(body).encode()))


def spans(gateway: InProcess) -> list[dict[str, Any]]:
    """Return the spans' attributes as a collector would see them: {name, kind, status, attributes}."""
    rows = gateway.ask("SELECT SpanName, SpanKind, StatusCode, SpanAttributes FROM otel_traces ORDER BY Timestamp")
    return [
        {"name": name, "kind": kind, "status": code, "attributes": json.loads(said)} for name, kind, code, said in rows
    ]


async def test_an_exchange_is_a_server_span_with_a_client_span_below(upstream: Upstream, gateway: InProcess, read):
    """Names, kinds, the HTTP and GenAI attributes of both, and nothing of gen_ai on the root."""
    upstream.answers(reply(read("chat_whole.json")))
    body = json.loads(read("chat_request.json")) | {"stream": False}
    assert (await ask(gateway, body, "/v1/chat/completions?key=" + KEY)).status == 200
    root, attempt = spans(gateway)
    assert (root["name"], root["kind"], root["status"]) == ("POST /v1/chat/completions", "Server", "Unset")
    said = root["attributes"]
    assert not [name for name in said if name.startswith(("gen_ai.", "llm."))]
    assert said.items() >= {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gateway.outcome": "ok",
        "gateway.provider": "openai",
        "gateway.dialect": "openai-chat",
        "gateway.request.model": "gpt-5.4",
        "gateway.response.model": "gpt-5.4-2026-03-05",
        "gateway.attempts": 1,
        "gateway.retries": 0,
        "gateway.rate_limited": False,
        "gateway.stream": False,
        "gateway.usage.input_tokens": 82,
        "gateway.usage.output_tokens": 17,
        "gateway.usage.total_tokens": 99,
        "gateway.usage.source": "reported",
    }.items()  # fmt: skip
    assert (attempt["name"], attempt["kind"], attempt["status"]) == ("chat gpt-5.4", "Client", "Unset")
    said = attempt["attributes"]
    assert said.items() >= {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.4",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.frequency_penalty": 0.5,
        "gen_ai.request.presence_penalty": -0.5,
        "gen_ai.request.seed": 42,
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.id": "chatcmpl-whole",
        "gen_ai.response.model": "gpt-5.4-2026-03-05",
        "gen_ai.usage.input_tokens": 82,
        "gen_ai.usage.output_tokens": 17,
        "gen_ai.usage.total_tokens": 99,
        "gateway.usage.source": "reported",
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": int(upstream.url.rpartition(":")[2]),
        "url.full": f"{upstream.url}/v1/chat/completions",
        "http.response.status_code": 200,
        "gateway.attempt.index": 0,
        "gateway.attempt.reason": "first",
        "gateway.outcome": "ok",
    }.items()  # fmt: skip
    assert said["gen_ai.request.stop_sequences"] == ["END"]
    assert said["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert "http.request.resend_count" not in said
    assert "error.type" not in said
    assert "gen_ai.request.stream" not in said
    (output,) = json.loads(said["gen_ai.output.messages"])
    assert output["finish_reason"] == "tool_calls"
    assert [part["type"] for part in output["parts"]] == ["text", "tool_call", "tool_call"]
    assert output["parts"][1]["arguments"] == {"q": "tides", "limit": 3}
    assert len(json.loads(said["gen_ai.input.messages"])) == 7
    assert json.loads(said["gen_ai.tool.definitions"])[0]["function"]["name"] == "look"


async def test_a_message_has_its_system_apart_and_its_cache_counted(upstream: Upstream, gateway: InProcess, read):
    """Anthropic's system prompt is apart from the messages, and its input tokens include the cached ones."""
    upstream.answers(reply(read("messages_whole.json")))
    told = json.loads(read("messages_whole.json"))["usage"]
    await ask(gateway, json.loads(read("messages_request.json")) | {"stream": False}, "/v1/messages")
    row = gateway.attempt()
    cached = told.get("cache_read_input_tokens", 0) + told.get("cache_creation_input_tokens", 0)
    assert row["input_tokens"] == told["input_tokens"] + cached
    assert row["total_tokens"] == row["input_tokens"] + row["output_tokens"]
    assert row["attributes"]["gen_ai.provider.name"] == "anthropic"
    assert [part["content"] for part in row["system_instructions"]] == ["You are a guide.", "Be kind."]
    assert row["input_messages"][0] == {"role": "user", "parts": [{"type": "text", "content": "Hello"}]}


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


async def test_the_clients_trace_is_continued(upstream: Upstream, gateway: InProcess):
    """The root is a child of the client's span, its state is kept, and the response names both of ours."""
    answer = await ask(
        gateway, CHAT, "/v1/chat/completions", ("traceparent", PARENT), ("tracestate", "vendor=1,other=x y")
    )
    root, attempt = gateway.exchange(), gateway.attempt()
    assert root["trace_id"] == attempt["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (root["parent_span_id"], attempt["parent_span_id"]) == ("b7ad6b7169203331", root["span_id"])
    assert root["trace_state"] == attempt["trace_state"] == "vendor=1,other=x y"
    assert answer.values(b"x-gateway-trace-id") == [root["trace_id"].encode()]
    assert answer.values(b"traceresponse") == [f"00-{root['trace_id']}-{root['span_id']}-01".encode()]
    (asked,) = upstream.asked
    assert asked.header("traceparent") == PARENT


BAD_PARENTS = (
    "",
    "hello",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\xff-01",
)


@pytest.mark.parametrize("parent", BAD_PARENTS)
async def test_a_bad_traceparent_begins_a_trace_of_its_own(upstream: Upstream, gateway: InProcess, parent):
    """What is no valid context is ignored, with the state that came with it; the request is answered."""
    answer = await ask(gateway, CHAT, "/v1/chat/completions", ("traceparent", parent), ("tracestate", "vendor=1"))
    assert answer.status == 200
    root = gateway.exchange()
    assert "parent_span_id" not in root
    assert "trace_state" not in root
    assert root["trace_id"] not in {"0" * 32, "0af7651916cd43dd8448eb211c80319c"}
    assert len(upstream.asked) == 1


async def test_a_path_that_is_not_read_is_traced_by_what_http_tells(upstream: Upstream, gateway: InProcess):
    """Its attempt has the HTTP attributes, no gen_ai.* at all, and no token counts."""
    answer = await exchange(gateway.url, request("GET", f"/v1/models?after=x&api_key={KEY}"))
    assert answer.status == 200
    assert upstream.asked[0].target == f"/v1/models?after=x&api_key={KEY}"
    root, attempt = spans(gateway)
    assert (root["name"], attempt["name"]) == ("GET /v1/models", "relay")
    assert not [name for name in attempt["attributes"] if name.startswith("gen_ai.")]
    assert attempt["attributes"]["url.full"] == f"{upstream.url}/v1/models"
    assert gateway.ask("SELECT input_tokens, output_tokens, total_tokens, usage_source FROM attempts") == [(None,) * 4]
    assert gateway.ask("SELECT input_tokens, total_tokens, model, dialect FROM exchanges") == [(None,) * 4]


async def test_a_streams_timing_is_recorded(upstream: Upstream, gateway: InProcess, read):
    """The head, the first content and each chunk have their times, in order and within the span."""
    head, *rest = events(read("chat_text.sse"))
    upstream.answers(stream([0.02, head, 0.02, *rest]))
    await ask(gateway, STREAM)
    row = gateway.attempt()
    times = row["chunk_times_ms"]
    assert 2 <= len(times) <= len(rest) + 1
    assert times == sorted(times)
    # The first event says the role only, the second one has content.
    assert row["ttfb_ms"] <= times[0] <= row["ttfc_s"] * 1000 + 0.01
    assert row["ttfc_s"] * 1000 - row["ttfb_ms"] >= 20
    assert max(times) <= row["duration_ns"] / 1e6 + 0.01
    assert row["stream"] is True
    assert row["attributes"]["gen_ai.request.stream"] is True
    for each in (row, gateway.exchange()):
        assert 0 <= each["overhead_us"] <= each["duration_ns"] / 1000 - 38_000


async def test_overhead_is_the_sum_of_its_phases(upstream: Upstream, gateway: InProcess, read):
    """Accepting and recording are of the exchange, sending and relaying of each attempt, retries included."""
    head, *rest = events(read("chat_text.sse"))
    upstream.answers(reply(b"{}", status="500 No"), stream([0.02, head, 0.02, *rest]))
    await ask(gateway, STREAM)
    root, *attempts = spans(gateway)
    assert len(attempts) == 2
    phases = [root["attributes"][f"gateway.overhead.{name}_us"] for name in ("accept", "record")]
    for attempt in attempts:
        own = [attempt["attributes"][f"gateway.attempt.overhead.{name}_us"] for name in ("send", "relay")]
        assert all(phase >= 0 for phase in own)
        assert abs(sum(own) - attempt["attributes"]["gateway.overhead_us"]) <= 2, (
            "but for what is lost by whole microseconds"
        )
        phases += own
    assert all(phase >= 0 for phase in phases)
    assert phases[0] > 0
    assert abs(sum(phases) - root["attributes"]["gateway.overhead_us"]) <= 8


async def test_the_timeline_of_a_long_stream_is_thinned_out_evenly(upstream: Upstream, gateway: InProcess):
    """Of a thousand chunks at most 256 times are kept, from the first to the last part of the stream."""
    delta = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"w"}}]}\n\n'
    pieces: list[bytes | float] = [delta if n % 2 else 0.0005 for n in range(2000)]
    upstream.answers(stream([*pieces, b"data: [DONE]\n\n"]))
    await ask(gateway, STREAM)
    row = gateway.attempt()
    times = row["chunk_times_ms"]
    assert 100 <= len(times) <= 256
    assert times == sorted(times)
    assert times[-1] >= row["duration_ns"] / 1e6 * 0.9
    assert row["output_messages"][0]["parts"][0]["content"] == "w" * 1000


async def test_a_whole_response_has_no_timeline(upstream: Upstream, gateway: InProcess, read):
    """Chunks and their times are a stream's alone."""
    upstream.answers(reply(read("chat_whole.json")))
    await ask(gateway)
    row = gateway.attempt()
    assert row["stream"] is False
    assert not {"chunk_times_ms", "ttfc_s"} & row.keys()
    assert 0 < row["ttfb_ms"] <= row["duration_ns"] / 1e6 + 0.01


USAGES = {
    "reported": ({"prompt_tokens": 7, "completion_tokens": 0}, ("reported", 7, 0, 7)),
    "none": (None, (None, None, None, None)),
    "empty": ({}, (None, None, None, None)),
    "partly": ({"prompt_tokens": 7}, ("reported", 7, None, 7)),
}


@pytest.mark.parametrize(("usage", "expected"), USAGES.values(), ids=USAGES.keys())
async def test_usage_that_was_not_told_is_null(upstream: Upstream, gateway: InProcess, read, usage, expected):
    """A count that is not known is NULL, never 0, on the attempt and on the exchange; one that is 0 is 0."""
    upstream.answers(reply(json.loads(read("chat_whole.json")) | {"usage": usage}))
    await ask(gateway)
    asked = "SELECT usage_source, input_tokens, output_tokens, total_tokens FROM attempts"
    assert gateway.ask(asked) == [expected]
    assert gateway.ask("SELECT input_tokens, output_tokens, total_tokens FROM exchanges") == [expected[1:]]


async def test_a_stream_that_tells_no_usage_is_estimated(upstream: Upstream, gateway: InProcess):
    """An estimate says that it is one, and its counts are of what was said."""
    delta = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n'
    stop = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    upstream.answers(stream([delta, stop, b"data: [DONE]\n\n"]))
    await ask(gateway, STREAM)
    row = gateway.attempt()
    assert (row["usage_source"], row["output_tokens"], row["outcome"]) == ("estimated", 2, "ok")
    assert row["input_tokens"] > 0
    assert gateway.exchange()["usage_source"] == "estimated"


async def test_what_cannot_even_be_estimated_is_unknown(upstream: Upstream, gateway: InProcess):
    """Of an image nothing is known but that it was sent; where no answer came either, all counts are NULL."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    upstream.answers(stream([b": hello\n\n", 0.02], end=CLOSE))
    await ask(gateway, STREAM | {"messages": [{"role": "user", "content": [image]}]})
    asked = "SELECT usage_source, input_tokens, output_tokens, total_tokens FROM attempts"
    assert gateway.ask(asked) == [(None,) * 4]


async def test_what_a_broken_stream_told_of_its_usage_is_kept(upstream: Upstream, gateway: InProcess, read):
    """Anthropic tells the input first: where the output's count does not come, only that one is estimated."""
    upstream.answers(stream([*events(read("messages_text.sse"))[:5], 0.02], end=CLOSE))
    await ask(gateway, STREAM | {"max_tokens": 9}, "/v1/messages")
    row = gateway.attempt()
    assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("estimated", 25, 4)
    assert row["total_tokens"] == 29


@pytest.mark.parametrize(
    ("fixture", "path"), [("chat_text.sse", "/chat/completions"), ("messages_text.sse", "/messages")]
)
async def test_a_client_that_leaves_a_stream_is_recorded_with_what_it_got(
    upstream: Upstream, gateway: InProcess, read, fixture, path
):
    """The provider is let go of, the outcome is client_abort and no error, and the tokens are estimated."""
    first, second, third, fourth, *_ = events(read(fixture))
    upstream.answers(stream([first, second, third, fourth, 60.0]))
    async with connected(gateway.url) as client:
        await client.send(request("POST", f"/v1{path}", [JSON], json.dumps(STREAM | {"max_tokens": 9}).encode()))
        await client.head()
        await client.piece()
    await gateway.ended()
    await upstream.left()
    for row in (gateway.exchange(), gateway.attempt()):
        assert (row["outcome"], row["http_status"]) == ("client_abort", 200)
        assert row["usage_source"] == "estimated"
        assert row["output_tokens"] >= 1
        assert "error_type" not in row
        assert "status" not in row
        assert "left before" in row["error"]
    assert gateway.attempt()["output_messages"][0]["parts"]


async def test_a_client_that_leaves_before_the_head_is_recorded(upstream: Upstream, gateway: InProcess):
    """A client that does not wait for the provider to think is client_abort, with one attempt and no status."""
    upstream.answers([60.0])
    async with connected(gateway.url) as client:
        await client.send(request("POST", "/v1/chat/completions", [JSON], json.dumps(CHAT).encode()))
        for _ in range(500):
            if upstream.asked:
                break
            await asyncio.sleep(0.01)
    await gateway.ended()
    await upstream.left()
    for row in (gateway.exchange(), gateway.attempt()):
        assert (row["outcome"], row.get("http_status"), row.get("usage_source")) == ("client_abort", None, None)
    assert gateway.exchange()["attempts"] == 1


async def test_a_client_that_leaves_within_its_own_body_is_recorded(upstream: Upstream, gateway: InProcess):
    """An upload that breaks off is an exchange without an attempt."""
    async with connected(gateway.url) as client:
        await client.send(request("POST", "/v1/chat/completions", [JSON], b"x" * 1000)[:-500])
        for _ in range(500):
            if gateway.journal.in_flight:
                break
            await asyncio.sleep(0.01)
    await gateway.ended()
    assert (gateway.exchange()["outcome"], gateway.exchange()["attempts"]) == ("client_abort", 0)
    assert upstream.asked == []


BROKEN = {
    "chat": ("/chat/completions", "chat_text.sse", 3),
    "messages": ("/messages", "messages_text.sse", 4),
    "responses": ("/responses", "responses_text.sse", 6),
}


@pytest.mark.parametrize(("path", "fixture", "count"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_stream_that_breaks_has_the_finish_reason_error(
    upstream: Upstream, gateway: InProcess, read, path, fixture, count
):
    """A connection that ends in the middle is upstream_abort on both spans, with an error status and an estimate."""
    upstream.answers(stream([*events(read(fixture))[:count], 0.02], end=CLOSE))
    answer = await ask(gateway, STREAM | {"input": "hi", "max_tokens": 9}, f"/v1{path}")
    assert not answer.whole
    attempt, root = gateway.attempt(), gateway.exchange()
    assert attempt["finish_reasons"] == ["error"]
    for row in (attempt, root):
        assert (row["outcome"], row["error_type"], row["status"]) == ("upstream_abort",) * 2 + ("ERROR",)
        assert row["usage_source"] == "estimated"


@pytest.mark.parametrize(("path", "fixture", "count"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_stream_that_stops_in_order_without_its_last_event_is_no_success(
    upstream: Upstream, gateway: InProcess, read, path, fixture, count
):
    """The bytes are passed on as they came, with one event that reports the missing end, as the spans do."""
    pieces = events(read(fixture))[:count]
    upstream.answers(stream(pieces))
    answer = await ask(gateway, STREAM | {"input": "hi", "max_tokens": 9}, f"/v1{path}")
    assert answer.body.startswith(b"".join(pieces))
    assert (answer.body.count(b"the stream stopped before its last event"), answer.whole) == (1, True)
    for row in (gateway.attempt(), gateway.exchange()):
        assert (row["outcome"], row["status"]) == ("upstream_abort", "ERROR")
        assert row["error"] == "the stream stopped before its last event"


ERRORS = {
    "chat": ("/chat/completions", "chat_error.sse"),
    "messages": ("/messages", "messages_error.sse"),
    "responses": ("/responses", "responses_error.sse"),
    "failed response": ("/responses", "responses_failed.sse"),
}


@pytest.mark.parametrize(("path", "fixture"), ERRORS.values(), ids=ERRORS.keys())
async def test_an_error_within_a_stream_is_the_exchanges(upstream: Upstream, gateway: InProcess, read, path, fixture):
    """An error event is passed on; the spans are errors with its type and message though HTTP says 200."""
    upstream.answers(stream(events(read(fixture))))
    answer = await ask(gateway, STREAM | {"input": "hi", "max_tokens": 9}, f"/v1{path}")
    assert (answer.body, answer.status) == (read(fixture), 200)
    attempt, root = gateway.rows("CLIENT")[-1], gateway.exchange()
    outcome = "rate_limit" if fixture == "responses_error.sse" else "server"
    for row in (attempt, root):
        assert (row["outcome"], row["http_status"], row["status"]) == (outcome, 200, "ERROR")
        assert row["error"]
    assert attempt["error"] == root["error"]
    assert attempt["error_type"] not in {outcome, "200"}
    assert attempt["finish_reasons"] == ["error"]


async def test_an_errors_own_words_are_recorded(upstream: Upstream, gateway: InProcess, read):
    """A provider's error is in the attempt and in the exchange; a client's fault is no error of the server span."""
    upstream.answers(reply(read("chat_error.json"), "400 Bad Request"))
    await ask(gateway)
    attempt, root = gateway.attempt(), gateway.exchange()
    assert attempt["error"] == root["error"] == "You exceeded your current quota."
    assert (attempt["error_type"], root["error_type"]) == ("400", "400")
    assert (attempt["status"], root.get("status")) == ("ERROR", None)


SAID = "You exceeded your current quota."
CODED = {
    "plain": ("identity", lambda body: body),
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
}


@pytest.mark.parametrize(("coding", "encode"), CODED.values(), ids=CODED.keys())
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files", "/v1/messages/batches"])
async def test_an_errors_words_are_read_in_every_coding_and_on_every_path(
    upstream: Upstream, gateway: InProcess, read, path, coding, encode
):
    """A coded error is the client's byte for byte and ours in words, also where a path is only relayed."""
    body = encode(read("chat_error.json"))
    upstream.answers(reply(body, "403 Forbidden", [("Content-Encoding", coding)]))
    answer = await ask(gateway, CHAT, path)
    assert (answer.body, answer.values(b"content-encoding")) == (body, [coding.encode()])
    attempt = gateway.attempt()
    assert attempt["error"] == gateway.exchange()["error"] == SAID
    if path != "/v1/chat/completions":
        assert not [name for name in attempt["attributes"] if name.startswith("gen_ai.")]


REFUSED = {
    "a provider that is not set up": ("POST", "/openai/deployments/d/embeddings", 404, "not_found"),
    "dialect mismatch": ("POST", "/anthropic/v1/chat/completions", 400, "bad_input"),
}


@pytest.mark.parametrize(("method", "path", "status", "outcome"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_the_gateway_refuses_is_an_exchange_without_an_attempt(
    upstream: Upstream, gateway: InProcess, method, path, status, outcome
):
    """It is recorded with the error that the client got, and nothing was sent."""
    answer = await exchange(gateway.url, request(method, path, [JSON], b"{}"))
    row = gateway.exchange()
    assert (answer.status, row["http_status"], row["outcome"], row["attempts"]) == (status, status, outcome, 0)
    assert row["error"] == json.loads(answer.body)["error"]["message"]
    assert gateway.rows("CLIENT") == upstream.asked == []


GROUPING = {
    "x-gateway-session": "session_id",
    "x-claude-code-session-id": "session_id",
    "helicone-session-id": "session_id",
    "session-id": "session_id",
    "x-session-id": "session_id",
    "x-session-affinity": "session_id",
    "x-gateway-user": "user_id",
    "helicone-user-id": "user_id",
    "x-gateway-application": "application",
    "x-gateway-environment": "environment",
    "x-gateway-run": "run_id",
    "x-gateway-step": "step_id",
}


@pytest.mark.parametrize(("header", "column"), GROUPING.items())
async def test_grouping_headers_become_columns(upstream: Upstream, gateway: InProcess, header, column):
    """Ours and those of agents are columns of the exchange; ours do not go to the provider, theirs do."""
    await ask(gateway, CHAT, "/v1/chat/completions", (header, "grüße-1"))
    assert gateway.ask(f"SELECT {column} FROM exchanges") == [("grüße-1",)]  # noqa: S608  a name of our own
    assert (upstream.asked[0].header(header) is None) == header.startswith("x-gateway-")


async def test_a_header_that_is_no_utf8_is_recorded_as_far_as_it_can_be_read(upstream: Upstream, gateway: InProcess):
    """A user agent in Latin-1 does not lose its exchange, and reaches the provider as it was."""
    agent = "café/1.0".encode("latin-1")
    assert (await ask(gateway, CHAT, "/v1/chat/completions", ("User-Agent", agent))).status == 200
    assert gateway.exchange()["client"] == "caf�"
    assert (gateway.journal.stored, gateway.journal.dropped) == (1, {})
    assert upstream.asked[0].header("user-agent") == "café/1.0"


@pytest.mark.parametrize("size", [10, 200_000])
async def test_the_values_of_a_large_request_are_not_held(size: int, upstream: Upstream, gateway: InProcess):
    """While the provider works, a large request is held as bytes only; each attempt's span has it all the same."""
    arrived, go_on = asyncio.Event(), asyncio.Event()
    answers = [reply({"error": {}}, "503 Busy"), [go_on, *reply({"id": "c", "choices": []})]]

    def answer(_asked: Any) -> Any:
        if len(upstream.asked) == 2:
            arrived.set()
        return answers[len(upstream.asked) - 1]

    upstream.answer = answer
    text = "x" * size
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    gc.collect()  # the exchanges of other tests
    asking = asyncio.ensure_future(ask(gateway, body))
    await arrived.wait()
    await asyncio.sleep(0)
    (held,) = [each for each in gc.get_objects() if isinstance(each, Exchange)]
    assert (held._chat_request is None, held._request_attributes is None) == (size > LARGE, size > LARGE)
    go_on.set()
    assert (await asking).status == 200
    assert (held._body, held._chat_request, held._last) == (None, None, None)
    rows = gateway.rows("CLIENT")
    assert len(rows) == 2
    assert all(text in json.dumps(row["input_messages"]) for row in rows)
