from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
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
from gateway.dialects.shared.extra import encode_state
from tests.dialects.gemini.parts import OWN, full


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"text": ""}, None),
        ({"text": "", "thought": True}, None),
        ({}, None),
        ({"thoughtSignature": "c2ln"}, Text(content="", extra={OWN: {"thoughtSignature": "c2ln"}})),
        ({"text": "hm", "thought": True}, Reasoning(content="hm")),
        ({"text": "hm", "thought": False}, Text(content="hm")),
        ({"text": 7}, Other(kind="text", value={"text": 7}, dialect=OWN)),
        ({"inlineData": {"data": ""}}, Other(kind="inlineData", value={"inlineData": {"data": ""}}, dialect=OWN)),
        ({"inlineData": {"data": "AA"}}, Blob(modality="document", content="AA==")),
        (
            {"fileData": {"fileUri": "https://example.com/a.png"}},
            Uri(modality="document", uri="https://example.com/a.png"),
        ),
        ({"functionCall": {"name": "f", "args": None}}, ToolCall(id="call_1", name="f", arguments={})),
        (
            {"functionCall": {"id": "x", "name": "f", "novel": 1}, "thought": True},
            ToolCall(id="x", name="f", arguments={}, extra={OWN: {"thought": True, "functionCall": {"novel": 1}}}),
        ),
        (
            {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["a"]}}},
            ServerToolCall(
                id="t",
                name="GOOGLE_SEARCH_WEB",
                server_tool_call={"type": "GOOGLE_SEARCH_WEB", "args": {"queries": ["a"]}},
            ),
        ),
        (
            {"toolResponse": {"toolType": "URL_CONTEXT", "response": {"a": 1}}},
            ServerToolCallResponse(server_tool_call_response={"type": "URL_CONTEXT", "response": {"a": 1}}),
        ),
        (
            {"audioTranscription": {"text": "a"}},
            Other(kind="audioTranscription", value={"audioTranscription": {"text": "a"}}, dialect=OWN),
        ),
        (
            {"functionCall": {"id": "x", "name": "f"}, "thoughtSignature": "skip_thought_signature_validator"},
            ToolCall(id="x", name="f", arguments={}),
        ),
        (
            {
                "text": "hm",
                "thought": True,
                "thoughtSignature": encode_state({"anthropic-messages": {"signature": "s"}}),
            },
            Reasoning(content="hm", extra={"anthropic-messages": {"signature": "s"}}),
        ),
        (
            {"text": "hm", "thoughtSignature": "eyJnYXRld2F5Ijp7!!"},
            Text(content="hm", extra={OWN: {"thoughtSignature": "eyJnYXRld2F5Ijp7!!"}}),
        ),
        (
            {"text": "hm", "thoughtSignature": "eyJnYXRld2F5Ijp7IngiOjF9fQ=="},
            Text(content="hm", extra={OWN: {"thoughtSignature": "eyJnYXRld2F5Ijp7IngiOjF9fQ=="}}),
        ),
    ],
)
def test_parts_of_every_kind_have_a_place(part: dict[str, Any], expected: Part | None) -> None:
    """A part that the form knows becomes that; any other is kept as it is; an empty one is nothing."""
    (message,) = full({"contents": [{"role": "model", "parts": [part, 7]}]}).input_messages
    assert message.parts == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("response", "expected", "is_error"),
    [
        ({"output": "warm"}, "warm", False),
        ({"result": "warm"}, "warm", False),
        ({"output": {"t": 20}}, {"t": 20}, False),
        ({"error": "no"}, "no", True),
        ({"error": {"code": 7}}, {"code": 7}, True),
        ({"output": "warm", "t": 20}, {"output": "warm", "t": 20}, False),
        ({"result": [1]}, {"result": [1]}, False),
        ({"t": 20}, {"t": 20}, False),
        ("warm", "warm", False),
        (None, "", False),
    ],
)
def test_what_a_function_gave_back_is_read(response: Any, expected: Any, is_error: bool) -> None:
    """An object with `output` or `result` alone gives its value; any other is the result itself."""
    part = {"functionResponse": {"id": "x", "name": "f", "response": response}}
    (message,) = full({"contents": [{"role": "function", "parts": [part]}]}).input_messages
    result = ToolCallResponse(id="x", name="f", response=expected, is_error=is_error)
    assert message == Message(role="tool", parts=[result])


def test_results_within_results_do_not_nest() -> None:
    """A result's parts are media; anything else in them is kept unread, however deep it goes."""
    part: dict[str, Any] = {"text": "end"}
    for _ in range(200):
        part = {"functionResponse": {"name": "f", "parts": [part]}}
    (message,) = full({"contents": [{"parts": [part]}]}).input_messages
    (result,) = message.parts
    assert isinstance(result, ToolCallResponse)
    (inner,) = result.response
    assert isinstance(inner, Other)
