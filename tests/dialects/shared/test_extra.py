"""Fields of one dialect, carried through the clients of others."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.shared.extra import decode_state, encode_state, foreign, sibling_format
from tests.dialects import drawing as d
from tests.dialects.pairs import SPOKEN


@given(d.OBJECTS)
def test_what_is_carried_comes_back_as_it_was(own: dict[str, Any]) -> None:
    """Whatever a provider must see again."""
    assert decode_state(encode_state({"gemini": own})) == {"gemini": own}


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "EqQB",
        "gAAAAA==",
        b64encode(b'{"gateway":{"a":1}}').decode(),
        b64encode(b'{"gateway":{').decode(),
        b64encode(b'{"gateway":{').decode() + "!",
        b64encode(b'{"gateway":{"a":{}}} more').decode(),
        b64encode(b'{ "gateway":{"a":{}}}').decode(),
    ],
)
def test_what_a_provider_made_is_left(text: Any) -> None:
    """A signature is none of ours, and neither is one that was cut."""
    assert decode_state(text) is None


def test_only_what_is_foreign_is_carried() -> None:
    """A dialect's own fields are written in its own way; an empty object is nothing."""
    extra: dict[str, dict[str, Any]] = {"gemini": {"a": 1}, "ollama": {}, "openai-chat": {"b": 2}}
    assert foreign(extra, "openai-chat") == {"gemini": {"a": 1}}


@pytest.mark.parametrize(
    ("dialect", "form", "written"),
    [
        (
            "openai-chat",
            {"type": "grammar", "syntax": "lark", "definition": "s"},
            {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}},
        ),
        (
            "openai-responses",
            {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}},
            {"type": "grammar", "syntax": "lark", "definition": "s"},
        ),
        ("openai-chat", {"type": "text"}, {"type": "text"}),
    ],
)
def test_a_tools_form_has_two_shapes(dialect: str, form: dict[str, Any], written: dict[str, Any]) -> None:
    """OpenAI's two dialects say it with the grammar's fields in an object of their own, or without."""
    other = "openai-responses" if dialect == "openai-chat" else "openai-chat"
    extra = {other: {"format": form, "x": 1}, "gemini": {"y": 2}}
    assert sibling_format({}, extra, dialect) == ({"format": written}, {other: {"x": 1}, "gemini": {"y": 2}})
    assert sibling_format({"format": form}, extra, dialect) == ({"format": form}, extra)
    assert sibling_format({}, {other: {"format": 7}}, dialect) == ({}, {other: {"format": 7}})


PROOFS = {
    "messages": [
        Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}}),
        Reasoning(content="", extra={"anthropic-messages": {"data": "EmwK"}}),
        Reasoning(content="So\n\nit is.", extra={"anthropic-messages": {"signature": "EqQC"}}),
    ],
    "responses": [Reasoning(content="Hm.", extra={"openai-responses": {"id": "rs_1", "encrypted_content": "gAAA"}})],
}


@pytest.mark.parametrize("by", PROOFS)
@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
def test_a_provider_gets_back_what_proves_its_reasoning(by: str, client: str) -> None:
    """From its response by way of a client of any dialect, in whose next request it precedes the tool's result."""
    spoken, to = SPOKEN[by], SPOKEN[client]
    call = ToolCall(id="toolu_1", name="f", arguments={})
    thoughts: list[Part] = [*PROOFS[by]]
    message = Message(role="assistant", parts=[*thoughts, call], finish_reason="tool_calls")
    result = Message(role="tool", parts=[ToolCallResponse(id="toolu_1", response="r")])
    asks = Message(role="user", parts=[Text(content="a")])
    # the client's response, as it sends it back
    sent_back = _as_sent(client, message)
    turns = to.asked(json.dumps(sent_back).encode()).input_messages
    asked = ChatRequest(operation="chat", model="claude-sonnet-4-5", input_messages=[asks, *turns, result])
    request = spoken.writer.request(asked)
    again = [
        part for each in spoken.asked(request.body).input_messages for part in each.parts if isinstance(part, Reasoning)
    ]
    assert again == thoughts


def _as_sent(client: str, message: Message) -> dict[str, Any]:
    """Write a response for a client; return what of it goes into the client's next request."""
    answered = ChatResponse(id="r-1", model="m", output_messages=[message])
    body = json.loads(SPOKEN[client].writer.response(answered, ChatRequest(operation="chat", model="m"), 1.0)[0])
    if client == "chat":
        return {"messages": [body["choices"][0]["message"]]}
    if client == "responses":
        return {"input": body["output"]}
    return {"messages": [{"role": "assistant", "content": body["content"]}]}
