"""Cohere's streams, as its API reference has them."""

import json
from typing import Any

import pytest

from gateway.dialects.cohere import COHERE_CHAT, ENDPOINT
from gateway.dialects.conversation import ChatResponse, Citation, Message, Reasoning, Text, ToolCall, Usage
from gateway.errors import ExchangeError, Kind


def written(*events: dict[str, Any]) -> bytes:
    """Write events."""
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


def delta(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    """Make an event of a piece of the message."""
    return {"type": kind, **({} if index is None else {"index": index}), "delta": {"message": message}}


START = {
    "id": "s",
    "type": "message-start",
    "delta": {"message": {"role": "assistant", "content": [], "tool_plan": ""}},
}
USED = {"billed_units": {"input_tokens": 5, "output_tokens": 9}, "tokens": {"input_tokens": 20, "output_tokens": 9}}


def end(word: str, **more: Any) -> dict[str, Any]:
    """Make the last event."""
    return {"type": "message-end", "id": "s", "delta": {"finish_reason": word, "usage": USED, **more}}


def call(index: int, **members: Any) -> dict[str, Any]:
    """Make a piece of a tool call."""
    kind = "tool-call-start" if "id" in members else "tool-call-delta"
    return delta(kind, index, tool_calls=members)


TEXT = [
    START,
    delta("content-start", 0, content={"type": "thinking", "thinking": ""}),
    delta("content-delta", 0, content={"thinking": "Hm."}),
    {"type": "content-end", "index": 0},
    delta("content-start", 1, content={"type": "text", "text": ""}),
    delta("content-delta", 1, content={"text": "Hel"}),
    delta("content-delta", 1, content={"text": "lo"}),
    delta("citation-start", 0, citations={"start": 0, "end": 5, "text": "Hello", "sources": []}),
    {"type": "citation-end", "index": 0},
    {"type": "content-end", "index": 1},
    end("COMPLETE"),
]
TOOLS = [
    START,
    delta("tool-plan-delta", tool_plan="I will "),
    delta("tool-plan-delta", tool_plan="look."),
    call(0, id="a", type="function", function={"name": "look", "arguments": ""}),
    call(0, function={"arguments": '{"a"'}),
    call(0, function={"arguments": ":1}"}),
    {"type": "tool-call-end", "index": 0},
    call(1, id="b", type="function", function={"name": "see", "arguments": "{}"}),
    {"type": "tool-call-end", "index": 1},
    end("TOOL_CALL"),
]
USAGE = Usage(input_tokens=20, output_tokens=9, total_tokens=29)
STREAMS = {
    "text": (TEXT, [Reasoning(content="Hm."), Text(content="Hello", citations=[Citation(start=0, end=5)])], "stop"),
    "tools": (
        TOOLS,
        [
            Reasoning(content="I will look."),
            ToolCall(id="a", name="look", arguments={"a": 1}),
            ToolCall(id="b", name="see", arguments={}),
        ],
        "tool_calls",
    ),
}


@pytest.mark.parametrize("cut", [5, 100_000])
@pytest.mark.parametrize(("events", "parts", "reason"), STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_is_read(events: list[dict[str, Any]], parts: list[Any], reason: str, cut: int) -> None:
    """In pieces of any size; it ends with `message-end`, also if `[DONE]` follows."""
    data = written(*events) + b"data: [DONE]\n\n"
    reader = COHERE_CHAT.stream_reader()
    for at in range(0, len(data), cut):
        reader.feed(data[at : at + cut])
    word = events[-1]["delta"]["finish_reason"]
    message = Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)
    assert reader.response() == ChatResponse(id="s", finish_reasons=[reason], output_messages=[message], usage=USAGE)
    assert (reader.ended, reader.unread, reader.first_output, reader.reported()) == (True, 0, True, {"usage": USED})


def test_a_stream_without_its_end_is_open() -> None:
    """Its text is there, its usage is unknown."""
    reader = COHERE_CHAT.stream_reader()
    reader.feed(written(*TEXT[:6]))
    assert (reader.ended, reader.expects_end, reader.response().usage) == (False, True, None)
    assert reader.response().output_messages[0].parts[-1] == Text(content="Hel")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (written(end("ERROR", error="out of memory")), "out of memory"),
        (b'data: {"id":"e","message":"internal server error"}\n\n', "internal server error"),
        (ENDPOINT.broken_stream(ExchangeError(Kind.CLOSED, "it broke off"), "0123"), "it broke off"),
    ],
)
def test_an_error_ends_a_stream(event: bytes, message: str) -> None:
    """The provider's, and the gateway's own."""
    reader = COHERE_CHAT.stream_reader()
    reader.feed(written(*TEXT[:6]) + event)
    read = reader.response()
    assert (reader.ended, read.error_message, reader.unread) == (True, message, 0)


def test_events_that_cannot_be_read_are_counted() -> None:
    """Members of other types are passed over."""
    reader = COHERE_CHAT.stream_reader()
    odd = [{"type": "content-delta", "index": "x", "delta": 3}, {"type": "tool-call-delta", "delta": {"message": []}}]
    reader.feed(b"data: x\n\n" + written(*odd, {"type": "debug"}))
    assert reader.unread == 1
    assert reader.response().error_message is None
