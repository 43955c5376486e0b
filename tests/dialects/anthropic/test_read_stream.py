"""Streams of Anthropic's messages, read."""

import json

import pytest

from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.conversation import (
    ChatResponse,
    Citation,
    Message,
    Reasoning,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects.anthropic.reading import Read, answer, own

THOUGHT = Reasoning(
    content="The user wants two cities.", extra=own(signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk=")
)


HIDDEN = Reasoning(content="", extra=own(data="EmwKAhgBEgy3va3pzix/LafPsn4a"))


STREAMS = {
    "messages_text.sse": ChatResponse(
        id="msg_01",
        model="claude-sonnet-5-20260801",
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="Hello, 世界!"), finish_reason="stop", finish_word="end_turn")],
        usage=Usage(input_tokens=25, output_tokens=15, total_tokens=40, cache_read_tokens=0, cache_write_tokens=0),
    ),
    "messages_thinking_tools.sse": ChatResponse(
        id="msg_02",
        model="claude-opus-5-20260701",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                THOUGHT,
                HIDDEN,
                Text(content="Looking it up."),
                ToolCall(id="toolu_01", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="toolu_02", name="get_time", arguments={}),
                finish_reason="tool_calls",
                finish_word="tool_use",
            )
        ],
        usage=Usage(
            input_tokens=12 + 300 + 2048,
            output_tokens=96,
            total_tokens=12 + 300 + 2048 + 96,
            cache_read_tokens=2048,
            cache_write_tokens=300,
            reasoning_tokens=40,
        ),
    ),
    "messages_server_tool.sse": ChatResponse(
        id="msg_03",
        model="claude-sonnet-5-20260801",
        finish_reasons=["length"],
        output_messages=[
            answer(
                ServerToolCall(
                    id="srvtoolu_01",
                    name="web_search",
                    server_tool_call={"type": "web_search", "input": {"query": "tides"}},
                ),
                ServerToolCallResponse(
                    id="srvtoolu_01",
                    server_tool_call_response={
                        "type": "web_search_tool_result",
                        "content": [
                            {
                                "type": "web_search_result",
                                "title": "Tides",
                                "url": "https://example.com/tides",
                                "encrypted_content": "Abc=",
                                "page_age": None,
                            }
                        ],
                    },
                ),
                Text(
                    content="Twice a day.",
                    citations=[
                        Citation(
                            uri="https://example.com/tides",
                            title="Tides",
                            quote="Twice a day",
                            extra=own(type="web_search_result_location", encrypted_index="Eo8="),
                        )
                    ],
                ),
                finish_reason="length",
                finish_word="max_tokens",
            )
        ],
        usage=Usage(
            input_tokens=10682,
            output_tokens=510,
            total_tokens=11192,
            cache_read_tokens=0,
            cache_write_tokens=0,
        ),
    ),
    "messages_refusal.sse": ChatResponse(
        id="msg_06",
        model="claude-sonnet-5-20260801",
        finish_reasons=["content_filter"],
        output_messages=[
            Message(
                role="assistant",
                parts=[Text(content="First, take")],
                finish_reason="content_filter",
                finish_word="refusal",
                extra=own(
                    stop_details={
                        "type": "refusal",
                        "category": "bio",
                        "explanation": "This request may lead to harm.",
                    }
                ),
            )
        ],
        usage=Usage(input_tokens=30, output_tokens=4, total_tokens=34, cache_read_tokens=0, cache_write_tokens=0),
    ),
    "messages_error.sse": ChatResponse(
        id="msg_04",
        model="claude-sonnet-5-20260801",
        output_messages=[answer(Text(content="Half an ans"), finish_reason=None)],
        usage=Usage(input_tokens=25),
        error_type="overloaded_error",
        error_message="Overloaded",
    ),
}


def events_of(stream: bytes) -> list[bytes]:
    """Cut a stream into its events."""
    return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """All content of a stream is in the record."""
    reader = MESSAGES.stream_reader()
    reader.feed(read(name))
    assert reader.response() == STREAMS[name]
    assert reader.unread == 0


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with message_stop or an error, not before."""
    reader = MESSAGES.stream_reader()
    events = events_of(read(name))
    ended = []
    for event in events:
        reader.feed(event)
        ended.append(reader.ended)
    assert ended == [*[False] * (len(events) - 1), True]


@pytest.mark.parametrize(
    ("name", "first"),
    [("messages_text.sse", 3), ("messages_thinking_tools.sse", 2), ("messages_server_tool.sse", 1)],
)
def test_output_begins_with_content(read: Read, name: str, first: int) -> None:
    """`first_output` turns true with the first words or with a tool's name, not with an empty block or a ping."""
    reader = MESSAGES.stream_reader()
    seen = []
    for event in events_of(read(name)):
        reader.feed(event)
        seen.append(reader.first_output)
    assert seen.index(True) == first
    assert all(seen[first:])


def test_a_broken_stream_tells_what_came_and_no_count_of_it(read: Read) -> None:
    """A cut stream has its parts and its input tokens; its output tokens are unknown, not the place-holder."""
    reader = MESSAGES.stream_reader()
    for event in events_of(read("messages_thinking_tools.sse"))[:14]:
        reader.feed(event)
    answered = reader.response()
    assert answered.finish_reasons == []
    assert answered.usage == Usage(input_tokens=2360, cache_read_tokens=2048, cache_write_tokens=300)
    assert answered.output_messages == [
        answer(
            THOUGHT,
            HIDDEN,
            Text(content="Looking it up."),
            ToolCall(id="toolu_01", name="get_weather", arguments='{"city": "Pa'),
            finish_reason=None,
        )
    ]


def test_events_out_of_order_are_read_as_far_as_they_go() -> None:
    """A delta whose block never began is content all the same; unknown events and deltas are passed over."""
    reader = MESSAGES.stream_reader()
    for event in (
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "b"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "a"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "novel_delta", "x": "c"}},
        {"type": "content_block_delta", "index": None, "delta": None},
        {"type": "novel"},
        {},
    ):
        reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    reader.feed(b"data: []\n\ndata: not json\n\n")
    assert reader.response().output_messages == [answer(Reasoning(content="a"), Text(content="b"), finish_reason=None)]
    assert reader.unread == 2
