from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_WRITER
from gateway.errors import Kind
from tests.dialects.strategies_ollama import stream_events
from tests.support.upstream import Upstream, reply, stream

NDJSON = "application/x-ndjson"
CALL = ToolCall(id="c1", name="get_weather", arguments={"city": "Oslo"})
ANSWER = ChatResponse(
    model="m",
    output_messages=[
        Message(
            role="assistant",
            parts=[Reasoning(content="hm"), Text(content="Let me look."), CALL],
            finish_reason="tool_calls",
        )
    ],
    usage=Usage(input_tokens=3, output_tokens=4, total_tokens=7),
)


def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where

    Returns:
        str: How it is

    """
    return city


@pytest.fixture(name="client")
async def _client(upstream: Upstream) -> AsyncIterator[ollama.AsyncClient]:
    """Make a client of the package for the scripted upstream."""
    async with ollama.AsyncClient(host=upstream.url) as client:
        yield client


async def test_the_package_reads_a_whole_chat(upstream: Upstream, client: ollama.AsyncClient) -> None:
    """Thought, text, tool call and counts are where the package has them."""
    body, _ = OLLAMA_WRITER.response(ANSWER, ChatRequest(operation="chat"), 0.0)
    upstream.answers(reply(body))
    response = await client.chat(model="m", messages=[{"role": "user", "content": "hi"}])
    assert (response.message.thinking, response.message.content) == ("hm", "Let me look.")
    assert [(c.function.name, c.function.arguments) for c in response.message.tool_calls or []] == [
        ("get_weather", {"city": "Oslo"})
    ]
    assert (response.done_reason, response.prompt_eval_count, response.eval_count) == ("stop", 3, 4)


@pytest.mark.parametrize("operation", ["chat", "text_completion"])
async def test_the_package_reads_a_stream(upstream: Upstream, client: ollama.AsyncClient, operation: str) -> None:
    """The pieces of a stream come as they were written, and its last line has the counts."""
    writer = OLLAMA_WRITER.stream(ChatRequest(operation=operation), 0.0)
    lines = [line for event in stream_events(ANSWER) if (line := writer.write(event))]
    upstream.answers(stream(lines, content_type=NDJSON))
    pieces: list[Any] = []
    if operation == "chat":
        messages = [{"role": "user", "content": "hi"}]
        pieces += [p async for p in await client.chat(model="m", messages=messages, stream=True)]
        text = "".join(p.message.content for p in pieces)
        assert [c.function.name for p in pieces for c in p.message.tool_calls or []] == ["get_weather"]
    else:
        pieces += [p async for p in await client.generate(model="m", prompt="hi", stream=True)]
        text = "".join(p.response for p in pieces)
    assert text == "Let me look."
    assert (pieces[-1].done, pieces[-1].done_reason, pieces[-1].eval_count) == (True, "stop", 4)


async def test_the_package_raises_an_error_in_a_stream(upstream: Upstream, client: ollama.AsyncClient) -> None:
    """A failure upstream is raised while the client iterates."""
    writer = OLLAMA_WRITER.stream(ChatRequest(operation="chat"), 0.0)
    response = [
        events.Begun(model="m"),
        events.PartBegun(index=0, part=Text(content="")),
        events.PartGrown(index=0, text="Once"),
        events.Broken(type="overloaded_error", message="busy"),
    ]
    upstream.answers(stream([line for event in response if (line := writer.write(event))], content_type=NDJSON))
    pieces = aiter(await client.chat(model="m", stream=True))
    assert (await anext(pieces)).message.content == "Once"
    with pytest.raises(ollama.ResponseError, match="busy"):
        await anext(pieces)


async def test_the_package_raises_an_error_body(upstream: Upstream, client: ollama.AsyncClient) -> None:
    """An error has its status and its message."""
    body = OLLAMA_WRITER.error(Kind.RATE_LIMIT, 429, "too many", "rate_limit_exceeded", "req-1")
    upstream.answers(reply(body, "429 Too Many Requests"))
    with pytest.raises(ollama.ResponseError, match="too many") as raised:
        await client.chat(model="m")
    assert raised.value.status_code == 429


async def test_what_the_package_sends_of_a_chat_is_read(upstream: Upstream, client: ollama.AsyncClient) -> None:
    """A tool loop with an image, a tool from a function, a schema and options, as the package puts them on the wire."""
    upstream.answers(reply({"message": {"role": "assistant", "content": ""}, "done": True}))
    messages: list[Any] = [
        {"role": "user", "content": "What is it like here?", "images": [b"\x89PNG\r\n\x1a\n"]},
        ollama.Message(
            role="assistant",
            tool_calls=[
                ollama.Message.ToolCall(
                    function=ollama.Message.ToolCall.Function(name="get_weather", arguments={"city": "Oslo"})
                )
            ],
        ),
        {"role": "tool", "tool_name": "get_weather", "content": "wet"},
    ]
    await client.chat(
        model="qwen3",
        messages=messages,
        tools=[get_weather],
        think="low",
        format={"type": "object"},
        options={"num_predict": 9, "num_ctx": 4096},
        keep_alive="5m",
    )
    sent = upstream.asked[0]
    assert sent.target == "/api/chat"
    asked = OLLAMA_CHAT.read_conversation(sent.body, sent.target)
    assert replace(asked, tool_definitions=None) == ChatRequest(
        operation="chat",
        model="qwen3",
        input_messages=[
            Message(
                role="user",
                parts=[
                    Text(content="What is it like here?"),
                    Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo="),
                ],
            ),
            Message(role="assistant", parts=[replace(CALL, id="call_1")]),
            Message(role="tool", parts=[ToolCallResponse(id="call_1", name="get_weather", response="wet")]),
        ],
        parameters={
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.reasoning.level": "low",
            "gen_ai.output.type": "json",
        },
        tools=[
            Tool(
                name="get_weather",
                description="Tell the weather.",
                parameters={
                    "type": "object",
                    "required": ["city"],
                    "properties": {"city": {"type": "string", "description": "Where"}},
                },
            )
        ],
        response_format=ResponseFormat(type="json_schema", schema={"type": "object"}),
        extra={"ollama": {"keep_alive": "5m", "options": {"num_ctx": 4096}}},
    )


async def test_what_the_package_sends_of_a_prompt_is_read(upstream: Upstream, client: ollama.AsyncClient) -> None:
    """The completion of a prompt, with what only Ollama has."""
    upstream.answers(reply({"response": "", "done": True}))
    await client.generate(model="m", prompt="def f(", suffix="return", think=False)
    sent = upstream.asked[0]
    assert sent.target == "/api/generate"
    assert OLLAMA_GENERATE.read_conversation(sent.body, sent.target) == ChatRequest(
        operation="text_completion",
        model="m",
        input_messages=[Message(role="user", parts=[Text(content="def f(")])],
        parameters={"gen_ai.request.reasoning.level": "disabled"},
        extra={"ollama": {"suffix": "return"}},
    )
