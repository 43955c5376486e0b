import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Citation,
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
)

Read = Callable[[str], bytes]


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"anthropic-messages": fields}


def other(kind: str, **value: Any) -> Other:
    """Make a part that has no word."""
    return Other(kind=kind, value=value, dialect="anthropic-messages")


def test_a_request_is_read_whole(read: Read) -> None:
    """Every message, part and parameter is in the record; tool results are turns of the role tool."""
    asked = MESSAGES.read_request(read("messages_request.json"))
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert tools == [{"name": "look", "input_schema": {"type": "object"}}]
    assert asked == ChatRequest(
        operation="chat",
        model="claude-sonnet-5",
        stream=True,
        system_instructions=[Text(content="You are a guide."), Text(content="Be kind.", cache="default")],
        input_messages=[
            Message(role="user", parts=[Text(content="Hello")]),
            Message(
                role="assistant",
                parts=[
                    Reasoning(content="They greet.", extra=own(signature="EqQB")),
                    Reasoning(content="", extra=own(data="EmwK")),
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
                            Text(content="a cat", cache="default"),
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
                    Text(content="plain words", extra=own(document={})),
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
        (
            {"type": "container_upload", "file_id": "file_1"},
            File(modality="document", file_id="file_1", extra=own(type="container_upload")),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "video/mp4", "data": "AA=="}},
            Blob(modality="video", mime_type="video/mp4", content="AA=="),
        ),
        ({"type": "image", "source": None}, other("image", source=None)),
        (
            {"type": "search_result", "title": "t", "cache_control": {"type": "ephemeral"}},
            replace(other("search_result", title="t"), cache="default"),
        ),
        ({"x": 1}, other("", x=1)),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "text", "data": "words"},
                "citations": {"enabled": True},
            },
            Text(content="words", extra=own(document={"title": "T", "citations": {"enabled": True}})),
        ),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
            ToolCall(id="t", name="f", arguments={}),
        ),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "code", "tool_id": "s"}},
            ToolCall(id="t", name="f", arguments={}, extra=own(caller={"type": "code", "tool_id": "s"})),
        ),
        (
            {
                "type": "text",
                "text": "So.",
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "It is so.",
                        "document_index": 0,
                        "document_title": "Facts",
                        "start_char_index": 3,
                        "end_char_index": 12,
                        "file_id": None,
                    },
                    {"type": "search_result_location", "source": "https://example.com", "title": None},
                ],
            },
            Text(
                content="So.",
                citations=[
                    Citation(
                        title="Facts",
                        quote="It is so.",
                        extra=own(type="char_location", document_index=0, start_char_index=3, end_char_index=12),
                    ),
                    Citation(uri="https://example.com", extra=own(type="search_result_location")),
                ],
            ),
        ),
    ],
)
def test_blocks_of_every_kind_have_a_place(block: dict[str, Any], part: Part) -> None:
    """Server tools, MCP, compaction and files have words; a block without one is kept as it is."""
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
            [other("tool_result", type="tool_result", content=[])],
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
    """An unreadable body gives the operation only."""
    assert MESSAGES.read_request(body) == ChatRequest(operation="chat")
