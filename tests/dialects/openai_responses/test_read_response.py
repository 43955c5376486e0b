import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_responses import RESPONSES

Read = Callable[[str], bytes]

MODEL = "gpt-5.4-2026-03-05"
CREATED = 1790000010
USAGE = Usage(
    input_tokens=328,
    output_tokens=52,
    total_tokens=380,
    cache_read_tokens=256,
    cache_write_tokens=10,
    reasoning_tokens=12,
)


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"openai-responses": fields}


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


STREAMS = {
    "responses_text.sse": ChatResponse(
        id="resp_1",
        model=MODEL,
        created=CREATED,
        finish_reasons=["stop"],
        output_messages=[
            answer(
                Reasoning(content="**Greeting** They say hi."),
                Reasoning(content="Answer.", extra=own(id="rs_1")),
                Text(content="Hi thère."),
                finish_reason="stop",
            )
        ],
        usage=USAGE,
        conversation_id="conv_1",
    ),
    "responses_tools.sse": ChatResponse(
        id="resp_2",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_a", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_b", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
        usage=USAGE,
    ),
    "responses_incomplete.sse": ChatResponse(
        id="resp_3",
        model=MODEL,
        created=CREATED,
        finish_reasons=["length"],
        output_messages=[
            answer(
                ServerToolCall(
                    id="ws_1",
                    name="web_search",
                    server_tool_call={
                        "type": "web_search_call",
                        "action": {"type": "search", "query": "tides", "sources": []},
                    },
                ),
                Text(content="Twice a"),
                finish_reason="length",
                finish_word="max_output_tokens",
            )
        ],
        usage=USAGE,
    ),
    "responses_refusal.sse": ChatResponse(
        id="resp_7",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Refusal(content="I won't delete that."),
                ToolCall(
                    id="call_p",
                    name="apply_patch",
                    arguments="*** Begin Patch\n*** End Patch\n",
                    custom=True,
                ),
                finish_reason="tool_calls",
            )
        ],
        usage=Usage(
            input_tokens=40,
            output_tokens=21,
            total_tokens=61,
            cache_read_tokens=0,
            cache_write_tokens=0,
            reasoning_tokens=0,
        ),
    ),
    "responses_failed.sse": ChatResponse(
        id="resp_4",
        model=MODEL,
        created=CREATED,
        finish_reasons=["error"],
        output_messages=[answer(Text(content="Half"), finish_reason="error")],
        error_type="server_error",
        error_message="The model failed to generate a response.",
    ),
    "responses_error.sse": ChatResponse(
        id="resp_5", model=MODEL, created=CREATED, error_type="rate_limit_exceeded", error_message="Slow down."
    ),
}


def events_of(stream: bytes) -> list[bytes]:
    """Cut a stream into its events."""
    return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """Everything a stream says is in the record."""
    reader = RESPONSES.stream_reader()
    reader.feed(read(name))
    assert reader.response() == STREAMS[name]
    assert reader.unread == 0


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with the event that ends the response, not before."""
    reader = RESPONSES.stream_reader()
    events = events_of(read(name))
    ended = []
    for event in events:
        reader.feed(event)
        ended.append(reader.ended)
    assert ended == [*[False] * (len(events) - 1), True]


@pytest.mark.parametrize("name", ["responses_text.sse", "responses_tools.sse", "responses_incomplete.sse"])
def test_the_deltas_alone_say_as_much_as_the_last_event(read: Read, name: str) -> None:
    """A stream that breaks before its last event has all its parts, from the items or from their deltas."""
    events = events_of(read(name))[:-1]
    for kept in (events, [e for e in events if b"output_item.done" not in e or b"web_search" in e]):
        reader = RESPONSES.stream_reader()
        reader.feed(b"".join(kept))
        [message] = reader.response().output_messages
        [whole] = STREAMS[name].output_messages
        assert message == Message(role="assistant", parts=whole.parts)
        assert reader.response().usage is None


def test_the_last_event_alone_says_as_much_as_the_deltas(read: Read) -> None:
    """A stream that is resumed near its end has all that the whole response tells."""
    reader = RESPONSES.stream_reader()
    reader.feed(events_of(read("responses_text.sse"))[-1])
    assert reader.response() == STREAMS["responses_text.sse"]


@pytest.mark.parametrize(
    ("name", "first"),
    [("responses_text.sse", 4), ("responses_tools.sse", 1), ("responses_incomplete.sse", 1)],
)
def test_output_begins_with_content(read: Read, name: str, first: int) -> None:
    """`first_output` turns true with the first words or with a tool call, not with an empty item."""
    reader = RESPONSES.stream_reader()
    seen = []
    for event in events_of(read(name)):
        reader.feed(event)
        seen.append(reader.first_output)
    assert seen.index(True) == first
    assert all(seen[first:])


def test_deltas_of_every_kind_are_joined() -> None:
    """Refusals, reasoning, custom tools, MCP and code are content, even where their item never began."""
    reader = RESPONSES.stream_reader()
    for index, (kind, pieces) in enumerate(
        {
            "refusal": ["No", "."],
            "reasoning_text": ["H", "m"],
            "custom_tool_call_input": ["l", "s"],
            "mcp_call_arguments": ["{", "}"],
            "code_interpreter_call_code": ["1", "+1"],
            "novel": ["x"],
        }.items()
    ):
        for piece in pieces:
            event = {"type": f"response.{kind}.delta", "output_index": index, "delta": piece}
            reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert reader.response().output_messages == [
        answer(
            Refusal(content="No."),
            Reasoning(content="Hm"),
            ToolCall(name="", arguments="ls", custom=True),
            ServerToolCall(name="mcp", server_tool_call={"type": "mcp_call", "arguments": "{}"}),
            ServerToolCall(name="code_interpreter", server_tool_call={"type": "code_interpreter_call", "code": "1+1"}),
            finish_reason=None,
        )
    ]


@pytest.mark.parametrize(
    "data",
    [
        b'event: error\ndata: {"type":"error","error":{"type":"a","message":"c"}}\n\n',
        b'event: error\ndata: {"code":"a","message":"c"}\n\n',
    ],
)
def test_an_error_event_ends_the_stream(data: bytes) -> None:
    """Both shapes of an error event are read."""
    reader = RESPONSES.stream_reader()
    reader.feed(data)
    assert reader.ended
    assert reader.response() == ChatResponse(error_type="a", error_message="c")


def test_an_event_that_cannot_be_read_costs_only_itself() -> None:
    """Unreadable events are counted and left."""
    reader = RESPONSES.stream_reader()
    reader.feed(b'data: 7\n\ndata: {"response":7}\n\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n')
    assert reader.unread == 2
    assert reader.response().output_messages == [answer(Text(content="a"), finish_reason=None)]


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form; reasoning that is hidden is an empty part."""
    assert RESPONSES.read_response(read("responses_whole.json")) == ChatResponse(
        id="resp_6",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="", extra=own(id="rs_2", encrypted_content="gAAAAA==")),
                ServerToolCall(
                    id="ci_1",
                    name="code_interpreter",
                    server_tool_call={
                        "type": "code_interpreter_call",
                        "code": "1+1",
                        "container_id": "cntr_1",
                    },
                ),
                ServerToolCallResponse(
                    id="ci_1",
                    server_tool_call_response={
                        "type": "code_interpreter_call",
                        "outputs": [{"type": "logs", "logs": "2"}],
                    },
                ),
                ServerToolCall(
                    id="ig_1",
                    name="image_generation",
                    server_tool_call={"type": "image_generation_call", "output_format": "webp"},
                ),
                Blob(modality="image", mime_type="image/webp", content="iVBORw0KGgo="),
                ToolCall(id="call_c", name="run", arguments="ls -l", custom=True),
                Text(content="Two."),
                Refusal(content="No more."),
                finish_reason="tool_calls",
            )
        ],
        usage=USAGE,
        conversation_id="conv_2",
    )


@pytest.mark.parametrize(
    ("response", "word"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"status": "failed"}, "error"),
        ({"status": "cancelled"}, "cancelled"),
    ],
)
def test_how_a_response_ended_is_the_one_vocabularys(response: dict[str, Any], word: str) -> None:
    """Status and details become a finish reason."""
    answered = RESPONSES.read_response(json.dumps({"output": [], **response}).encode())
    known = "max_output_tokens" if word == "length" else None
    assert answered == ChatResponse(
        finish_reasons=[word], output_messages=[answer(finish_reason=word, finish_word=known)]
    )


@pytest.mark.parametrize("status", ["queued", "in_progress", None])
def test_a_response_in_the_background_has_no_finish_reason(status: str | None) -> None:
    """What has not ended says so by saying nothing."""
    body = json.dumps({"id": "resp_1", "status": status, "output": []}).encode()
    assert RESPONSES.read_response(body) == ChatResponse(id="resp_1")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"type":"a","code":"b","message":"c"}}', ("a", "c")),
        (b'{"code":"b","message":"c"}', ("b", "c")),
        (b"<html>", (None, None)),
        (b'{"output":7}', (None, None)),
    ],
)
def test_error_bodies_are_read(body: bytes, error: tuple[str | None, str | None]) -> None:
    """An error body gives the provider's own type and message, and nothing else."""
    assert RESPONSES.read_response(body) == ChatResponse(error_type=error[0], error_message=error[1])
