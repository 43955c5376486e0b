"""OpenAI's Python SDK works with nothing changed but its base URL, and what it did is in the store."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest

from tests.support.gateways import InProcess
from tests.support.sdks import (
    CHAT,
    HELLO,
    KEY,
    by_path,
    comparable,
    facts,
    parts_of,
    reasoning,
    recorded,
    said,
    telling_usage_when_asked,
    text,
    tool_call,
)
from tests.support.upstream import Upstream, events, reply, stream

WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
COMPLETION = {
    "id": "cmpl-9",
    "object": "text_completion",
    "created": 1790000000,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"text": " is blue", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
MODEL = {"id": "gpt-5.4", "object": "model", "created": 1790000000, "owned_by": "openai"}
FILE = {"id": "file-1", "object": "file", "bytes": 258, "created_at": 1, "filename": "a.jsonl", "purpose": "batch"}
FILE["status"] = "processed"
MODERATION = {"id": "modr-1", "model": "omni-moderation-latest", "results": []}
SPEECH = bytes(range(256)) * 8
TOKENS = ("usage_source", "input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "reasoning_tokens")

Read = Callable[[str], bytes]


@pytest.fixture(name="client")
async def _client(gateway: InProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """Make it as anybody would: two retries, ten minutes."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
        yield client


async def test_chat(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """A whole answer is the provider's own, and the row says what was asked, answered and spent."""
    upstream.answers(reply(CHAT, headers=[("x-request-id", "req_1")]))
    answer = await client.chat.completions.create(model="gpt-5.4-mini", messages=HELLO, temperature=0.5, max_tokens=50)
    assert answer.to_dict() == CHAT
    assert answer._request_id == "req_1"
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "dialect", "request_model", "client", "stream", "http_status") == (
        "ok", "openai-chat", "gpt-5.4-mini", "AsyncOpenAI/Python", False, 200,
    )  # fmt: skip
    assert facts(attempt, "outcome", "operation", "request_model", "response_model", "response_id", "stream") == (
        "ok", "chat", "gpt-5.4-mini", "gpt-5.4-mini-2026-03-17", "chatcmpl-1", False,
    )  # fmt: skip
    assert facts(attempt, *TOKENS) == ("reported", 19, 10, 29, 16, 4)
    assert attempt["finish_reasons"] == ["stop"]
    assert said(attempt, "input") == [("user", None, [text("Hello")])]
    assert said(attempt) == [("assistant", "stop", [text("Good day.")])]
    assert attempt["attributes"]["gen_ai.request.temperature"] == 0.5
    assert attempt["attributes"]["gen_ai.request.max_tokens"] == 50


@pytest.mark.parametrize(
    ("options", "asked_upstream", "chunks", "source"),
    [
        pytest.param({}, {"include_usage": True}, 4, "reported", id="not said"),
        pytest.param({"stream_options": {"include_usage": True}}, {"include_usage": True}, 5, "reported", id="asked"),
        pytest.param({"stream_options": {"include_usage": False}}, {"include_usage": False}, 4, "estimated", id="no"),
    ],
)
async def test_chat_streamed(
    client: openai.AsyncOpenAI,
    upstream: Upstream,
    gateway: InProcess,
    read: Read,
    options: dict[str, Any],
    asked_upstream: dict[str, bool],
    chunks: int,
    source: str,
):
    """A client gets the usage chunk exactly if it asked; it is recorded unless the client refused it."""
    upstream.answer = telling_usage_when_asked(read("chat_text.sse"))
    answer = await client.chat.completions.create(model="gpt-5.4-mini", messages=HELLO, stream=True, **options)
    got = [chunk async for chunk in answer]
    assert len(got) == chunks
    assert [chunk.usage.total_tokens for chunk in got if chunk.usage] == [1293] * (chunks - 4)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got if chunk.choices) == "Grüß dich 👋 東京"
    assert upstream.asked[0].json["stream_options"] == asked_upstream
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "stream") == ("ok", True)
    assert facts(attempt, "outcome", "stream", "usage_source", "finish_reasons") == ("ok", True, source, ["stop"])
    assert said(attempt) == [("assistant", "stop", [text("Grüß dich 👋 東京")])]
    assert attempt["ttfc_s"] > 0
    if source == "reported":
        assert facts(attempt, *TOKENS) == ("reported", 1219, 74, 1293, 1024, 64)


async def test_tools_called_whole(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """Parallel calls, of functions and of custom tools, arrive as the SDK's types and are parts of the output."""
    upstream.answers(reply(read("chat_whole.json")))
    answer = await client.chat.completions.create(model="gpt-5.4", messages=HELLO, tools=WEATHER)
    function, custom = answer.choices[0].message.tool_calls
    assert json.loads(function.function.arguments) == {"q": "tides", "limit": 3}
    assert custom.custom.input == "print(1)"
    _, (attempt,) = recorded(gateway)
    assert attempt["tool_definitions"] == WEATHER
    calls = [tool_call("call_1", "search", {"q": "tides", "limit": 3}), tool_call("call_2", "run", "print(1)")]
    assert said(attempt) == [("assistant", "tool_calls", [text("Let me look."), *calls])]
    assert facts(attempt, *TOKENS) == ("reported", 82, 17, 99, 0, 0)


async def test_tools_called_in_a_stream_and_answered(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read
):
    """Interleaved deltas of parallel calls become whole calls for the SDK's helper and in the row; so do results."""
    upstream.answers(stream(events(read("chat_tools.sse"))), reply(CHAT))
    async with client.chat.completions.stream(model="gpt-5.4", messages=HELLO, tools=WEATHER) as answer:
        message = (await answer.get_final_completion()).choices[0].message
    assert [call.function.arguments for call in message.tool_calls] == ['{"city":"Paris"}', '{"city":"Oslo"}']
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls]
    turn = {"role": "assistant", "tool_calls": [call.model_dump(exclude={"index"}) for call in message.tool_calls]}
    await client.chat.completions.create(model="gpt-5.4", messages=[*HELLO, turn, *results], tools=WEATHER)

    calls = [tool_call(f"call_{c.lower()}", "get_weather", {"city": c}) for c in ("Paris", "Oslo")]
    _, (first,) = recorded(gateway, 0)
    assert said(first) == [("assistant", "tool_calls", calls)]
    assert facts(first, "finish_reasons", "usage_source") == (["tool_calls"], "estimated")
    _, (second,) = recorded(gateway, 1)
    assert said(second, "input") == [
        ("user", None, [text("Hello")]),
        ("assistant", None, calls),
        *(("tool", None, [{"type": "tool_call_response", "id": c["id"], "response": "rain"}]) for c in calls),
    ]


async def test_responses_whole(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """A whole response with every kind of item reaches the SDK, and is recorded with its usage."""
    upstream.answers(reply(read("responses_whole.json")))
    answer = await client.responses.create(model="gpt-5.4", instructions="Be terse.", input="How many?")
    assert answer.output_text == "Two."
    assert [item.type for item in answer.output][:2] == ["reasoning", "code_interpreter_call"]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "dialect", "request_model") == ("ok", "openai-responses", "gpt-5.4")
    assert facts(attempt, *TOKENS, "cache_write_tokens") == ("reported", 328, 52, 380, 256, 12, 10)
    assert facts(attempt, "response_id", "response_model") == ("resp_6", "gpt-5.4-2026-03-05")
    assert attempt["system_instructions"] == [text("Be terse.")]
    assert said(attempt, "input") == [("user", None, [text("How many?")])]
    assert text("Two.") in parts_of(attempt)


@pytest.mark.parametrize("helper", [False, True])
async def test_responses_streamed(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read, helper: bool
):
    """All events arrive, named and in order, raw and through the SDK's helper; reasoning is a part of its own."""
    pieces = events(read("responses_text.sse"))
    upstream.answers(stream(pieces))
    options: dict[str, Any] = {"model": "gpt-5.4", "input": "Hello"}
    if helper:
        async with client.responses.stream(**options) as answer:
            got = [event.type async for event in answer]
            assert (await answer.get_final_response()).output_text == "Hi thère."
    else:
        got = [event.type async for event in await client.responses.create(**options, stream=True)]
    assert got == [piece.split(b"\n")[0].removeprefix(b"event: ").decode() for piece in pieces]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "stream") == ("ok", True)
    assert facts(attempt, *TOKENS) == ("reported", 328, 52, 380, 256, 12)
    assert parts_of(attempt) == [reasoning("**Greeting** They say hi."), reasoning("Answer."), text("Hi thère.")]
    assert attempt["attributes"]["gen_ai.conversation.id"] == "conv_1"


async def test_responses_tools_streamed(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """Two function calls of a streamed response are two calls for the SDK and in the row."""
    upstream.answers(stream(events(read("responses_tools.sse"))))
    tools: list[Any] = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}]
    async with client.responses.stream(model="gpt-5.4", input="Weather?", tools=tools) as answer:
        final = await answer.get_final_response()
    assert [item.arguments for item in final.output] == ['{"city":"Paris"}', '{"city":"Oslo"}']
    _, (attempt,) = recorded(gateway)
    assert parts_of(attempt) == [
        tool_call("call_a", "get_weather", {"city": "Paris"}),
        tool_call("call_b", "get_weather", {"city": "Oslo"}),
    ]
    assert attempt["tool_definitions"] == tools


@pytest.mark.parametrize("streamed", [False, True])
async def test_completions(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read, streamed: bool
):
    """The older completions work whole and streamed, and are an operation of their own."""
    whole = reply(COMPLETION)
    streaming = telling_usage_when_asked(read("completion.sse"))
    upstream.answer = lambda asked: streaming(asked) if streamed else whole
    answer = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="The sky", stream=streamed)
    pieces = [piece async for piece in answer] if streamed else [answer]
    assert "".join(piece.choices[0].text for piece in pieces).strip() == "is blue"
    _, (attempt,) = recorded(gateway)
    assert facts(attempt, "operation", "name", "stream") == (
        "text_completion", "text_completion gpt-3.5-turbo-instruct", streamed,
    )  # fmt: skip
    assert facts(attempt, *TOKENS[:4]) == ("reported", 3, 2, 5)
    assert attempt["finish_reasons"] == ["length"]
    assert said(attempt, "input") == [("user", None, [text("The sky")])]


@pytest.mark.parametrize(
    ("options", "fixture", "first"),
    [({}, "embeddings_base64.json", 0.1), ({"encoding_format": "float"}, "embeddings.json", 0.0023)],
    ids=["base64", "float"],
)
async def test_embeddings(
    client: openai.AsyncOpenAI,
    upstream: Upstream,
    gateway: InProcess,
    read: Read,
    options: dict[str, Any],
    fixture: str,
    first: float,
):
    """Vectors come as the SDK asks for them, base64 where the caller says nothing, and only their tokens are kept."""
    upstream.answers(reply(read(fixture)))
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["tide", "moon"], **options)
    assert answer.data[0].embedding[0] == pytest.approx(first, rel=0.1)
    assert upstream.asked[0].json["encoding_format"] == options.get("encoding_format", "base64")
    _, (attempt,) = recorded(gateway)
    assert facts(attempt, "operation", "usage_source", "input_tokens") == ("embeddings", "reported", 8)
    assert facts(attempt, "output_tokens", "output_messages") == (None, None)


PATHS: dict[str, bytes | dict[str, Any]] = {
    "POST /v1/chat/completions": CHAT,
    "POST /v1/moderations": MODERATION,
    "GET /v1/models": {"object": "list", "data": [MODEL]},
    "GET /v1/models/gpt-5.4": MODEL,
    "DELETE /v1/models/ft%2Fgpt%20%C3%A9": {"id": "ft/gpt é", "object": "model", "deleted": True},
    "POST /v1/files": FILE,
    "GET /v1/files/file-1/content": SPEECH,
    "GET /v1/files?limit=2&purpose=batch": {"object": "list", "data": [FILE], "has_more": False},
    "POST /v1/audio/speech": SPEECH,
    "GET /v1/organization/x?y=%20z&y=2": {"any": "thing"},
}
CALLS: dict[str, Callable[[openai.AsyncOpenAI], Awaitable[Any]]] = {
    "chat": lambda c: c.chat.completions.create(
        model="gpt-5.4", messages=HELLO, extra_body={"x_unknown": [1.0, "é"]}, extra_headers={"X-Mine": "1"}
    ),
    "moderations": lambda c: c.moderations.create(model="omni-moderation-latest", input="mild"),
    "models": lambda c: c.models.list(),
    "model": lambda c: c.models.retrieve("gpt-5.4"),
    "delete": lambda c: c.models.delete("ft/gpt é"),
    "upload": lambda c: c.files.create(file=("a.jsonl", bytes(range(256)) + b"\r\n"), purpose="batch"),
    "content": lambda c: c.files.content("file-1"),
    "files": lambda c: c.files.list(purpose="batch", limit=2),
    "speech": lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input="Ah."),
    "unknown": lambda c: c.get("/organization/x?y=%20z&y=2", cast_to=object),
}


@pytest.mark.parametrize("call", CALLS)
async def test_the_provider_cannot_tell(upstream: Upstream, gateway: InProcess, call: str):
    """Straight and through the gateway the provider gets the same bytes and the SDK the same answer, on any path."""
    upstream.answer = by_path(PATHS)
    answers = []
    for url in (upstream.url, gateway.url):
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            answer = await CALLS[call](client)
            answers.append(answer.content if hasattr(answer, "content") else repr(answer))
    straight, relayed = upstream.asked
    assert comparable(relayed) == comparable(straight)
    assert relayed.header("Authorization") == f"Bearer {KEY}"
    assert answers[0] == answers[1]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status", "path") == ("ok", 200, straight.target.partition("?")[0])
    if call != "chat":
        assert facts(root, "dialect", "usage_source", "total_tokens") == (None, None, None)
        assert facts(attempt, "operation", "input_messages", "output_messages") == (None, None, None)


async def test_the_trace_is_named_in_the_response(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """The raw response has the provider's headers and the trace id under which SQL finds the exchange."""
    theirs = [("x-request-id", "req_7"), ("openai-processing-ms", "12"), ("x-ratelimit-remaining-tokens", "9")]
    upstream.answers(reply(CHAT, headers=theirs))
    raw = await client.chat.completions.with_raw_response.create(model="gpt-5.4-mini", messages=HELLO)
    assert [raw.headers[name] for name, _ in theirs] == [value for _, value in theirs]
    assert raw.parse().to_dict() == CHAT
    trace = raw.headers["x-gateway-trace-id"]
    assert gateway.ask(
        "SELECT e.trace_id, a.exchange_id = e.span_id, e.model, a.response_model, e.outcome, e.attempts,"
        " e.total_tokens, a.usage_source, a.finish_reasons FROM exchanges e JOIN attempts a USING (trace_id)"
    ) == [(trace, True, "gpt-5.4-mini", CHAT["model"], "ok", 1, 29, "reported", ["stop"])]
    assert raw.headers["traceresponse"] == f"00-{trace}-{recorded(gateway)[0]['span_id']}-01"


async def test_compressed_answers(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """A gzipped answer, whole or streamed, is passed on as it is and read for the trace."""
    coded = [("Content-Encoding", "gzip")]
    data = gzip.compress(read("chat_text.sse"))
    upstream.answers(
        reply(gzip.compress(json.dumps(CHAT).encode()), headers=coded), stream([data[:99], data[99:]], coded)
    )
    whole = await client.chat.completions.create(model="gpt-5.4-mini", messages=HELLO)
    assert whole.to_dict() == CHAT
    answer = await client.chat.completions.create(
        model="gpt-5.4-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert len([chunk async for chunk in answer]) == 5
    assert recorded(gateway, 0)[1][0]["total_tokens"] == 29
    assert recorded(gateway, 1)[1][0]["total_tokens"] == 1293


async def test_the_sync_client(upstream: Upstream, gateway: InProcess, read: Read):
    """The client without asyncio, in a thread, streams as well."""
    upstream.answer = telling_usage_when_asked(read("chat_text.sse"))

    def ask() -> str:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
            answer = client.chat.completions.create(model="gpt-5.4-mini", messages=HELLO, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)

    assert await asyncio.to_thread(ask) == "Grüß dich 👋 東京"
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "client") == ("ok", "OpenAI/Python")
    assert facts(attempt, *TOKENS[:3]) == ("reported", 1219, 74)
