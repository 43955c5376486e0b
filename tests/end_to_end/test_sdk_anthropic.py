"""Anthropic's Python SDK works with nothing changed but its base URL, and what it did is in the store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import pytest

from tests.support.gateways import InProcess
from tests.support.sdks import (
    HELLO,
    KEY,
    MESSAGE,
    by_path,
    comparable,
    facts,
    reasoning,
    recorded,
    said,
    text,
    tool_call,
)
from tests.support.upstream import Upstream, events, reply, stream

ASK: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 1024, "messages": HELLO}
TOOLS: list[Any] = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
TOKENS = ("usage_source", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

Read = Callable[[str], bytes]


@pytest.fixture(name="client")
async def _client(gateway: InProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Make it as anybody would: two retries, ten minutes."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY) as client:
        yield client


async def test_messages(client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess):
    """A whole message is the provider's own, and the row says what was asked, answered and spent, caches included."""
    upstream.answers(reply(MESSAGE, headers=[("request-id", "req_1")]))
    answer = await client.messages.create(**ASK, system="Be terse.", stop_sequences=["END"])
    assert answer.to_dict() == MESSAGE
    assert answer._request_id == "req_1"
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "dialect", "request_model", "client", "stream", "http_status") == (
        "ok", "anthropic-messages", "claude-sonnet-5", "AsyncAnthropic/Python", False, 200,
    )  # fmt: skip
    assert facts(attempt, "outcome", "operation", "request_model", "response_model", "response_id", "stream") == (
        "ok", "chat", "claude-sonnet-5", "claude-sonnet-5-20260801", "msg_1", False,
    )  # fmt: skip
    assert facts(attempt, *TOKENS) == ("reported", 9 + 5 + 100, 7, 100, 5)
    assert attempt["finish_reasons"] == ["stop"]
    assert attempt["system_instructions"] == [text("Be terse.")]
    assert said(attempt, "input") == [("user", None, [text("Hello")])]
    assert said(attempt) == [("assistant", "stop", [text("Good day.")])]
    assert attempt["attributes"]["gen_ai.request.max_tokens"] == 1024
    assert attempt["attributes"]["gen_ai.request.stop_sequences"] == ["END"]


async def test_thinking_and_tools_whole(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read
):
    """Thinking and tool use arrive as the SDK's types and are parts of the output; what is sent back, of the input."""
    upstream.answers(reply(read("messages_whole.json")), reply(MESSAGE))
    answer = await client.messages.create(**ASK, tools=TOOLS)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": "toolu_09", "content": "noted"}
    turns = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    await client.messages.create(**ASK | {"messages": [*HELLO, *turns]}, tools=TOOLS)

    parts = [reasoning("Simple."), text("Paris."), tool_call("toolu_09", "note", {"city": "Paris"})]
    _, (first,) = recorded(gateway, 0)
    assert said(first) == [("assistant", "tool_calls", parts)]
    assert first["tool_definitions"] == TOOLS
    _, (second,) = recorded(gateway, 1)
    assert [parts for _, _, parts in said(second, "input")] == [
        [text("Hello")],
        parts,
        [{"type": "tool_call_response", "id": "toolu_09", "response": "noted"}],
    ]


STREAMS: dict[str, tuple[tuple[Any, ...], str, list[Any]]] = {
    "messages_text.sse": (("reported", 25, 15, 0, 0), "stop", [text("Hello, 世界!")]),
    "messages_thinking_tools.sse": (
        ("reported", 2360, 96, 2048, 300),
        "tool_calls",
        [
            reasoning("The user wants two cities."),
            reasoning(""),
            text("Looking it up."),
            tool_call("toolu_01", "get_weather", {"city": "Paris"}),
            tool_call("toolu_02", "get_time", {}),
        ],
    ),
}


@pytest.mark.parametrize("fixture", STREAMS)
@pytest.mark.parametrize("helper", [False, True], ids=["raw", "helper"])
async def test_messages_streamed(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read, fixture: str, helper: bool
):
    """All events arrive named and in order, raw and through the SDK's helper, and make one message in the row."""
    pieces = events(read(fixture))
    upstream.answers(stream(pieces))
    tokens, finish, parts = STREAMS[fixture]
    if helper:
        async with client.messages.stream(**ASK, tools=TOOLS) as answer:
            final = await answer.get_final_message()
        assert final.usage.output_tokens == tokens[2]
        spoken = "".join(block.text for block in final.content if block.type == "text")
    else:
        got = [event async for event in await client.messages.create(**ASK, tools=TOOLS, stream=True)]
        named = [piece.split(b"\n")[0].removeprefix(b"event: ").decode() for piece in pieces]
        assert [event.type for event in got] == [name for name in named if name != "ping"]
        deltas = [event.delta for event in got if event.type == "content_block_delta"]
        spoken = "".join(delta.text for delta in deltas if delta.type == "text_delta")
    assert [part for part in parts if part["type"] == "text"] == [text(spoken)]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "stream") == ("ok", True)
    assert facts(attempt, *TOKENS) == tokens
    assert said(attempt) == [("assistant", finish, parts)]
    assert attempt["ttfc_s"] > 0


PATHS: dict[str, dict[str, Any] | bytes] = {
    "POST /v1/messages": MESSAGE,
    "POST /v1/messages/count_tokens": {"input_tokens": 2095},
    "POST /v1/messages/count_tokens?beta=true&b=%20": {"input_tokens": 2095, "context_management": None},
    "GET /v1/models?limit=5": {"data": [], "has_more": False, "first_id": None, "last_id": None},
    "GET /v1/models/claude-sonnet-5": {
        "type": "model",
        "id": "claude-sonnet-5",
        "display_name": "Sonnet",
        "created_at": "2026-08-01T00:00:00Z",
    },
    "POST /v1/files": {
        "id": "file_1",
        "type": "file",
        "filename": "a.bin",
        "mime_type": "application/octet-stream",
        "size_bytes": 258,
        "created_at": "2026-08-01T00:00:00Z",
    },
    "GET /v1/messages/batches/b_1": {"id": "b_1", "type": "message_batch", "results_url": None},
}
BETAS = ["context-1m-2025-08-07", "token-efficient-tools"]
CALLS: dict[str, Callable[[anthropic.AsyncAnthropic], Awaitable[Any]]] = {
    "messages": lambda c: c.messages.create(
        **ASK, extra_headers={"anthropic-beta": "a,b , c"}, extra_body={"x_unknown": [1.0, "é"]}
    ),
    "beta messages": lambda c: c.beta.messages.create(**ASK, betas=BETAS),
    "count": lambda c: c.messages.count_tokens(model="claude-sonnet-5", messages=HELLO),
    "beta count": lambda c: c.beta.messages.count_tokens(
        model="claude-sonnet-5", messages=HELLO, betas=BETAS, extra_query={"beta": "true", "b": " "}
    ),
    "models": lambda c: c.models.list(limit=5),
    "model": lambda c: c.models.retrieve("claude-sonnet-5"),
    "upload": lambda c: c.beta.files.upload(file=("a.bin", bytes(range(256)) + b"\r\n")),
    "batch": lambda c: c.messages.batches.retrieve("b_1"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_the_provider_cannot_tell(upstream: Upstream, gateway: InProcess, call: str):
    """Straight and through the gateway the provider gets the same bytes and the SDK the same answer, on any path."""
    upstream.answer = by_path(PATHS)
    answers = []
    for url in (upstream.url, gateway.url):
        async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY) as client:
            answers.append(repr(await CALLS[call](client)))
    straight, relayed = upstream.asked
    assert comparable(relayed) == comparable(straight)
    assert answers[0] == answers[1]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status", "path", "provider") == (
        "ok", 200, straight.target.partition("?")[0], "anthropic",
    )  # fmt: skip
    if call.endswith("messages"):
        assert facts(attempt, *TOKENS) == ("reported", 114, 7, 100, 5)
    elif call in {"count", "beta count"}:  # read, but nothing is used
        assert facts(root, "dialect", "usage_source", "total_tokens") == ("anthropic-messages", None, None)
        assert facts(attempt, "operation", "output_messages") == ("count_tokens", None)
    else:
        assert facts(root, "dialect", "usage_source", "total_tokens") == (None, None, None)
        assert facts(attempt, "operation", "input_messages", "output_messages") == (None, None, None)


async def test_betas_reach_the_provider(client: anthropic.AsyncAnthropic, upstream: Upstream):
    """The header and the query that turn features on arrive as they were sent."""
    upstream.answers(reply(MESSAGE))
    await client.beta.messages.create(**ASK, betas=BETAS, extra_query={"beta": "true"})
    await client.messages.create(**ASK, extra_headers={"anthropic-beta": "a,b , c", "Anthropic-Version": "2023-06-01"})
    beta, own = upstream.asked
    assert (beta.target, beta.header("anthropic-beta")) == ("/v1/messages?beta=true", ",".join(BETAS))
    assert (own.target, own.header("anthropic-beta")) == ("/v1/messages", "a,b , c")
    assert own.header("anthropic-version") == "2023-06-01"


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
async def test_the_clients_key_is_passed_on(upstream: Upstream, gateway: InProcess, name: str):
    """A key goes on in the header it came in, and none is added to it."""
    upstream.answers(reply(MESSAGE))
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    other: dict[str, Any] = {"Authorization": anthropic.omit, name: value}
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, default_headers=other) as client:
        assert (await client.messages.create(**ASK)).to_dict() == MESSAGE
    named = [(key, value) for key, value in upstream.asked[0].headers if key.lower() in {"authorization", "x-api-key"}]
    assert named == [(name, value)]
    recorded(gateway)


async def test_the_trace_is_named_in_the_response(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess
):
    """The raw response has the provider's headers and the trace id under which SQL finds the exchange."""
    theirs = [
        ("request-id", "req_7"),
        ("anthropic-ratelimit-tokens-remaining", "9"),
        ("anthropic-organization-id", "o"),
    ]
    upstream.answers(reply(MESSAGE, headers=theirs))
    raw = await client.messages.with_raw_response.create(**ASK)
    assert [raw.headers[name] for name, _ in theirs] == [value for _, value in theirs]
    assert (await raw.parse()).to_dict() == MESSAGE
    assert gateway.ask(
        "SELECT e.trace_id, a.exchange_id = e.span_id, e.model, a.response_model, e.outcome, e.attempts,"
        " e.total_tokens, a.usage_source, a.finish_reasons FROM exchanges e JOIN attempts a USING (trace_id)"
    ) == [(raw.headers["x-gateway-trace-id"], True, ASK["model"], MESSAGE["model"], "ok", 1, 121, "reported", ["stop"])]


async def test_the_sync_client(upstream: Upstream, gateway: InProcess, read: Read):
    """The client without asyncio, in a thread, streams as well."""
    upstream.answers(stream(events(read("messages_text.sse"))))

    def ask() -> str:
        with (
            anthropic.Anthropic(base_url=gateway.url, api_key=KEY) as client,
            client.messages.stream(**ASK) as answer,
        ):
            return "".join(answer.text_stream)

    assert await asyncio.to_thread(ask) == "Hello, 世界!"
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "client") == ("ok", "Anthropic/Python")
    assert facts(attempt, *TOKENS[:3]) == ("reported", 25, 15)
