"""Items of OpenAI's Responses as parts of the conversation."""

from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    Compaction,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.openai_responses.read_parts import _RESULTS, read_input, read_item

OWN = "openai-responses"


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        ({"type": "message", "content": "hi"}, [Text(content="hi")]),
        ({"content": [{"type": "output_text", "text": "hi"}]}, [Text(content="hi")]),
        ({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}, [Refusal(content="no")]),
        (
            {"type": "message", "phase": "commentary", "content": "hi"},
            [Text(content="hi", extra={OWN: {"phase": "commentary"}})],
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
            [ToolCall(id="c", name="f", arguments={"a": 1})],
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "ls"},
            [ToolCall(id="c", name="f", arguments="ls", custom=True)],
        ),
        ({"type": "function_call_output", "call_id": "c", "output": "a"}, [ToolCallResponse(id="c", response="a")]),
        (
            {"type": "shell_call", "call_id": "c", "id": "i", "action": {"x": 1}},
            [
                ToolCall(
                    id="c", name="shell", arguments={"action": {"x": 1}}, extra={OWN: {"type": "shell_call", "id": "i"}}
                )
            ],
        ),
        (
            {"type": "shell_call_output", "call_id": "c", "output": "a"},
            [ToolCallResponse(id="c", response="a", extra={OWN: {"type": "shell_call_output"}})],
        ),
        (
            {"type": "compaction", "id": "i", "encrypted_content": "e"},
            [Compaction(id="i", extra={OWN: {"encrypted_content": "e"}})],
        ),
        ({"type": "novel", "x": 1}, [Other(kind="novel", value={"x": 1}, dialect=OWN)]),
        ({"type": "reasoning", "summary": []}, [Reasoning(content="")]),
        (
            {"type": "reasoning", "summary": [{"text": "h"}, {"text": "m"}], "encrypted_content": "e"},
            [Reasoning(content="h"), Reasoning(content="m", extra={OWN: {"encrypted_content": "e"}})],
        ),
    ],
)
def test_items_are_parts(item: dict[str, Any], parts: list[Part]) -> None:
    """By two rules for calls and outputs, which hold for tools that are not known."""
    assert read_item(item) == parts


@pytest.mark.parametrize("result", _RESULTS)
def test_a_providers_own_tool_has_its_result_in_its_item(result: str) -> None:
    """Whatever the field of the result is called."""
    item = {"type": "novel_call", "id": "i", "status": "completed", "x": 1, result: ["a"]}
    assert read_item(item) == [
        ServerToolCall(id="i", name="novel", server_tool_call={"type": "novel_call", "x": 1}),
        ServerToolCallResponse(id="i", server_tool_call_response={"type": "novel_call", result: ["a"]}),
    ]


def test_a_generated_image_is_inline() -> None:
    """Its format is beside it."""
    item = {"type": "image_generation_call", "id": "i", "status": "completed", "result": "AA", "output_format": "webp"}
    assert read_item(item)[1:] == [Blob(modality="image", mime_type="image/webp", content="AA")]


def test_consecutive_items_of_the_model_are_one_message() -> None:
    """And so are consecutive results; a user's messages stay apart."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "a"}
    user = {"role": "user", "content": "hi"}
    messages = read_input([user, user, {"type": "reasoning", "summary": []}, call, output, output])
    assert [(message.role, len(message.parts)) for message in messages] == [
        ("user", 1),
        ("user", 1),
        ("assistant", 2),
        ("tool", 2),
    ]
    assert read_input("hi") == [Message(role="user", parts=[Text(content="hi")])]
