import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.conversation import (
    Answered,
    Asked,
    Blob,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
    Usage,
)

Read = Callable[[str], bytes]


def answer(*parts: Part, finish_reason: str | None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason)


STREAMS = {
    "messages_text.sse": Answered(
        id="msg_01",
        model="claude-sonnet-5-20260801",
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="Hello, 世界!"), finish_reason="stop")],
        usage=Usage(input_tokens=25, output_tokens=15, total_tokens=40, cache_read_tokens=0, cache_write_tokens=0),
    ),
    "messages_thinking_tools.sse": Answered(
        id="msg_02",
        model="claude-opus-5-20260701",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="The user wants two cities."),
                Reasoning(content=""),
                Text(content="Looking it up."),
                ToolCall(id="toolu_01", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="toolu_02", name="get_time", arguments={}),
                finish_reason="tool_calls",
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
    "messages_server_tool.sse": Answered(
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
                Text(content="Twice a day."),
                finish_reason="length",
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
    "messages_error.sse": Answered(
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
    """Everything a stream says is in the record."""
    reader = MESSAGES.stream_reader()
    reader.feed(read(name))
    assert reader.answered() == STREAMS[name]
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
    answered = reader.answered()
    assert answered.finish_reasons == []
    assert answered.usage == Usage(input_tokens=2360, cache_read_tokens=2048, cache_write_tokens=300)
    assert answered.output_messages == [
        answer(
            Reasoning(content="The user wants two cities."),
            Reasoning(content=""),
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
    assert reader.answered().output_messages == [answer(Reasoning(content="a"), Text(content="b"), finish_reason=None)]
    assert reader.unread == 2


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    assert MESSAGES.read_response(read("messages_whole.json")) == Answered(
        id="msg_05",
        model="claude-sonnet-5-20260801",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="Simple."),
                Text(content="Paris."),
                ToolCall(id="toolu_09", name="note", arguments={"city": "Paris"}),
                finish_reason="tool_calls",
            )
        ],
        usage=Usage(input_tokens=125, output_tokens=30, total_tokens=155, cache_read_tokens=100, cache_write_tokens=5),
    )


def test_an_error_body_is_read(read: Read) -> None:
    """An error body gives the provider's own type and message, and nothing else."""
    assert MESSAGES.read_response(read("messages_error.json")) == Answered(
        error_type="invalid_request_error", error_message="max_tokens: Field required"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"content":7,"usage":[]}', b"[" * 9999])
def test_a_response_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """What cannot be read leaves nothing."""
    assert MESSAGES.read_response(body) == Answered()


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
    ],
)
def test_stop_reasons_are_the_one_vocabularys(told: str, word: str) -> None:
    """Anthropic's words become the common ones; those without one stay as they are."""
    body = json.dumps({"content": [], "stop_reason": told}).encode()
    answered = MESSAGES.read_response(body)
    assert answered == Answered(finish_reasons=[word], output_messages=[answer(finish_reason=word)])


def test_a_request_is_read_whole(read: Read) -> None:
    """Every message, part and parameter is in the record; tool results are turns of the role tool."""
    asked = MESSAGES.read_request(read("messages_request.json"))
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert tools == [{"name": "look", "input_schema": {"type": "object"}}]
    assert asked == Asked(
        operation="chat",
        model="claude-sonnet-5",
        stream=True,
        system_instructions=[Text(content="You are a guide."), Text(content="Be kind.")],
        input_messages=[
            Message(role="user", parts=[Text(content="Hello")]),
            Message(
                role="assistant",
                parts=[
                    Reasoning(content="They greet."),
                    Reasoning(content=""),
                    Text(content="Hi."),
                    ToolCall(id="toolu_01", name="look", arguments={"zoom": 2}),
                    ToolCall(id="toolu_02", name="look", arguments={}),
                ],
            ),
            Message(
                role="tool",
                parts=[
                    ToolCallResponse(
                        id="toolu_01",
                        response=[
                            Text(content="a cat"),
                            Blob(modality="image", mime_type="image/jpeg", content="/9j/4A=="),
                        ],
                    ),
                    ToolCallResponse(id="toolu_02", response="out of film", is_error=True),
                ],
            ),
            Message(
                role="user",
                parts=[
                    Text(content="And these?"),
                    Uri(modality="image", uri="https://example.com/dog.png"),
                    Blob(modality="document", mime_type="application/pdf", content="JVBERi0="),
                    File(modality="document", file_id="file_011"),
                    Text(content="plain words"),
                ],
            ),
        ],
        tool_definitions=asked.tool_definitions,
        parameters={
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.request.temperature": 1.0,
            "gen_ai.request.top_p": 0.5,
            "gen_ai.request.top_k": 40,
            "gen_ai.request.stop_sequences": ["END", "STOP"],
            "gen_ai.request.stream": True,
            "gen_ai.request.reasoning.level": "enabled",
        },
        user="user-7",
    )


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"thinking": {"type": "disabled"}}, {"gen_ai.request.reasoning.level": "disabled"}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            {"gen_ai.request.reasoning.level": "max"},
        ),
        ({"output_config": {"format": {"type": "json_schema"}}}, {"gen_ai.output.type": "json"}),
        ({"output_format": {"type": "json_schema"}}, {"gen_ai.output.type": "json"}),
        ({"thinking": None, "output_config": 7, "stop_sequences": None}, {}),
    ],
)
def test_thinking_and_format_become_parameters(body: dict[str, Any], kept: dict[str, Any]) -> None:
    """An effort is the reasoning level; without one, how thinking is switched."""
    assert MESSAGES.read_request(json.dumps(body).encode()).parameters == kept


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "docs", "input": {"q": 1}},
            ServerToolCall(
                id="m1",
                name="find",
                server_tool_call={"type": "find", "input": {"q": 1}, "server_name": "docs"},
            ),
        ),
        (
            {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": False, "content": []},
            ServerToolCallResponse(
                id="m1",
                server_tool_call_response={"type": "mcp_tool_result", "is_error": False, "content": []},
            ),
        ),
        ({"type": "compaction", "content": "So far: tea."}, Compaction(content="So far: tea.")),
        ({"type": "container_upload", "file_id": "file_1"}, File(modality="document", file_id="file_1")),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "video/mp4", "data": "AA=="}},
            Blob(modality="video", mime_type="video/mp4", content="AA=="),
        ),
        ({"type": "image", "source": None}, Other(kind="image", value={"source": None})),
        (
            {"type": "search_result", "title": "t", "cache_control": {"type": "ephemeral"}},
            Other(kind="search_result", value={"title": "t"}),
        ),
        ({"x": 1}, Other(kind="", value={"x": 1})),
    ],
)
def test_blocks_of_every_kind_have_a_place(block: dict[str, Any], part: Part) -> None:
    """Server tools, MCP, compaction and files have words; a block without one is kept as it stands."""
    body = json.dumps({"messages": [{"role": "assistant", "content": [block, 7]}]}).encode()
    assert MESSAGES.read_request(body).input_messages == [Message(role="assistant", parts=[part])]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        (None, ""),
        ([], ""),
        ("text", "text"),
        ([{"type": "text", "text": "one"}], "one"),
        (
            [{"type": "tool_result", "content": []}],
            [Other(kind="tool_result", value={"type": "tool_result", "content": []})],
        ),
    ],
)
def test_a_tools_answer_is_its_text_where_it_is_only_that(content: Any, response: Any) -> None:
    """A result is a text, or a list of parts."""
    block = {"type": "tool_result", "tool_use_id": "t", "content": content}
    body = json.dumps({"messages": [{"role": "user", "content": [block]}]}).encode()
    expected = Message(role="tool", parts=[ToolCallResponse(id="t", response=response)])
    assert MESSAGES.read_request(body).input_messages == [expected]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages":{},"system":7,"metadata":[]}'])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """What cannot be read leaves the operation only."""
    assert MESSAGES.read_request(body) == Asked(operation="chat")
