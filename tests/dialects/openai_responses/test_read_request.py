import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from gateway.dialects.openai_responses import RESPONSES
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.openai_responses.read_request import read_conversation, read_request
from gateway.dialects.openai_responses.write_request import write_request

Read = Callable[[str], bytes]


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"openai-responses": fields}


def test_a_request_is_read_whole(read: Read) -> None:
    """Every item and parameter is in the record; a turn of several items is one message."""
    asked = RESPONSES.read_request(read("responses_request.json"))
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert [tool["type"] for tool in tools] == ["function", "web_search"]
    assert asked == ChatRequest(
        operation="chat",
        model="gpt-5.4",
        stream=True,
        system_instructions=[Text(content="Be terse.")],
        input_messages=[
            Message(role="user", parts=[Text(content="Hello")]),
            Message(
                role="user",
                parts=[
                    Text(content="What is this?"),
                    Uri(modality="image", uri="https://example.com/cat.png"),
                    File(modality="image", file_id="file-img"),
                    Blob(modality="document", mime_type="application/pdf", content="JVBERi0=", name="a.pdf"),
                    Uri(modality="document", uri="https://example.com/b.pdf"),
                ],
            ),
            Message(
                role="assistant",
                parts=[
                    Reasoning(content="A cat.", extra=own(id="rs_1", encrypted_content="gAAAAA==")),
                    Text(content="A cat."),
                    ToolCall(id="call_a", name="feed", arguments={"grams": 20}),
                    ToolCall(
                        id="call_b",
                        name="local_shell",
                        arguments={"action": {"type": "exec", "command": ["ls"], "env": {}}},
                        extra=own(type="local_shell_call", id="sh_1"),
                    ),
                ],
            ),
            Message(
                role="tool",
                parts=[
                    ToolCallResponse(id="call_a", response="fed"),
                    ToolCallResponse(
                        id="call_c",
                        custom=True,
                        response=[
                            Text(content="ok"),
                            Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo="),
                        ],
                    ),
                ],
            ),
            Message(
                role="assistant",
                parts=[Other(kind="item_reference", value={"id": "msg_0"}, dialect="openai-responses")],
            ),
            Message(role="user", parts=[Text(content="Again.")]),
        ],
        tool_definitions=asked.tool_definitions,
        parameters={
            "gen_ai.request.max_tokens": 200,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 1.0,
            "gen_ai.request.stream": True,
            "gen_ai.request.reasoning.level": "high",
            "gen_ai.request.previous_response.id": "resp_0",
            "gen_ai.output.type": "json",
        },
        conversation_id="conv_1",
        user="hash-1",
    )


def test_a_request_may_be_one_text() -> None:
    """A plain input is a user's message, and a conversation may be named by its id alone."""
    asked = RESPONSES.read_request(b'{"model":"m","input":"Hi","conversation":"conv_9","user":"u"}')
    assert asked == ChatRequest(
        operation="chat",
        model="m",
        input_messages=[Message(role="user", parts=[Text(content="Hi")])],
        conversation_id="conv_9",
        user="u",
    )


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "f"}},
            Message(
                role="tool",
                parts=[
                    ToolCallResponse(
                        id="c",
                        response=[File(modality="image", file_id="f")],
                        extra=own(type="computer_call_output"),
                    )
                ],
            ),
        ),
        (
            {"type": "shell_call_output", "call_id": "c", "output": {"stdout": "x"}},
            Message(
                role="tool",
                parts=[ToolCallResponse(id="c", response={"stdout": "x"}, extra=own(type="shell_call_output"))],
            ),
        ),
        (
            {"type": "mcp_call", "id": "m", "name": "find", "arguments": "{}", "output": "found", "error": None},
            Message(
                role="assistant",
                parts=[
                    ServerToolCall(
                        id="m", name="find", server_tool_call={"type": "mcp_call", "name": "find", "arguments": "{}"}
                    ),
                    ServerToolCallResponse(id="m", server_tool_call_response={"type": "mcp_call", "output": "found"}),
                ],
            ),
        ),
        (
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"},
            Message(role="assistant", parts=[Compaction(id="cmp_1", extra=own(encrypted_content="gAAA"))]),
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}]},
            Message(role="user", parts=[Blob(modality="audio", mime_type="audio/mpeg", content="AA==")]),
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "detail": "auto"}]},
            Message(
                role="user", parts=[Other(kind="input_image", value={"detail": "auto"}, dialect="openai-responses")]
            ),
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "detail": "low", "image_url": "https://x/i"}]},
            Message(role="user", parts=[Uri(modality="image", uri="https://x/i", extra=own(detail="low"))]),
        ),
        (
            {
                "type": "message",
                "role": "assistant",
                "phase": "commentary",
                "content": [
                    {
                        "type": "output_text",
                        "text": "So.",
                        "annotations": [
                            {
                                "type": "url_citation",
                                "url": "https://x",
                                "title": "X",
                                "start_index": 0,
                                "end_index": 2,
                            },
                            {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 3},
                        ],
                    },
                    {"type": "refusal", "refusal": "No."},
                ],
            },
            Message(
                role="assistant",
                parts=[
                    Text(
                        content="So.",
                        citations=[
                            Citation(uri="https://x", title="X", start=0, end=2),
                            Citation(title="a.pdf", extra=own(type="file_citation", file_id="f", index=3)),
                        ],
                        extra=own(phase="commentary"),
                    ),
                    Refusal(content="No."),
                ],
            ),
        ),
    ],
)
def test_items_of_every_kind_have_a_place(item: dict[str, Any], message: Message) -> None:
    """The client's tools and the provider's are distinguished, and an unknown item is kept as it is."""
    body = json.dumps({"input": [item, 7]}).encode()
    assert RESPONSES.read_request(body).input_messages == [message]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"input":{},"instructions":[],"text":7}'])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives the operation only."""
    assert RESPONSES.read_request(body) == ChatRequest(operation="chat")


INNER = {"type": "function", "name": "status", "parameters": {"type": "object"}}
GROUP = {"type": "namespace", "name": "mcp__srv", "description": "d", "tools": [INNER, {"type": "custom", "name": "x"}]}


def test_tools_in_a_namespace_are_tools() -> None:
    """Each with its namespace; what else the namespace has is kept on the first."""
    body = json.dumps({"model": "m", "input": "x", "tools": [GROUP]}).encode()
    assert read_conversation(body, "").tools == [
        Tool(
            name="status",
            namespace="mcp__srv",
            parameters={"type": "object"},
            extra={NAME: {"namespace": {"description": "d"}}},
        ),
        Tool(name="x", kind="custom", namespace="mcp__srv"),
    ]
    assert json.loads(write_request(read_conversation(body, "")).body)["tools"] == [
        GROUP | {"tools": [INNER | {"strict": False}, {"type": "custom", "name": "x"}]}
    ]


def test_tools_in_the_input_are_the_requests() -> None:
    """As Codex sends them for newer models: in the trace, and for a translation, which has no such item."""
    item = {"type": "additional_tools", "role": "developer", "tools": [INNER]}
    body = json.dumps({"input": [item, {"role": "user", "content": "x"}], "tools": None}).encode()
    read = read_conversation(body, "")
    assert read.tools == [Tool(name="status", parameters={"type": "object"})]
    assert read.input_messages == [Message(role="user", parts=[Text(content="x")])]
    definitions = read_request(body).tool_definitions
    assert definitions is not None
    assert json.loads(bytes(definitions)) == [INNER]
