import base64
import json
import struct
from typing import Any

import pytest

from gateway.providers.demo import replies
from gateway.providers.demo.replies import Reply, generate

ASK = {"messages": [{"role": "user", "content": "use the tool"}]}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "scale": {"type": "number"},
        "metric": {"type": "boolean"},
        "tags": {"type": "array"},
        "more": {"type": "object"},
    },
}
ARGUMENTS = {"city": "Lisbon", "days": 7, "scale": 2.5, "metric": True, "tags": [], "more": {}}
TOOLS = {
    "openai": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
    "anthropic": [{"name": "weather", "input_schema": SCHEMA}],
}


def called() -> Reply:
    """Return a reply that calls a tool."""
    return generate(ASK | {"tools": TOOLS["openai"]}, "chat")


def textual() -> Reply:
    """Return a reply of text."""
    return generate({"messages": [{"role": "user", "content": "Hello there"}]}, "echo")


def test_the_same_request_has_the_same_reply() -> None:
    """A reply depends on the messages and the model only."""
    assert generate(ASK, "chat") == generate(ASK | {"stream": True}, "chat")
    assert generate(ASK, "chat").text != generate({"messages": [{"role": "user", "content": "else"}]}, "chat").text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, "Hi"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}]}, "a b"),
        ({"input": "Hi"}, "Hi"),
        ({"input": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}, "y"),
        ({"prompt": "Hi"}, "Hi"),
        ({}, "(nothing to repeat)"),
        ({"messages": None}, "(nothing to repeat)"),
        ({"messages": [3]}, "(nothing to repeat)"),
    ],
)
def test_echo_repeats_the_last_message_of_every_api(body: dict[str, Any], text: str) -> None:
    """Messages, input and prompt are read, as text or as parts."""
    assert generate(body, "echo").text == text


@pytest.mark.parametrize("tools", TOOLS.values(), ids=list(TOOLS))
def test_a_tool_is_called_with_values_of_its_schema(tools: list[Any]) -> None:
    """The tool of any API's shape is called if the last user message names it or "tool"."""
    name, arguments = generate(ASK | {"tools": tools}, "chat").tool or ("", "")
    assert (name, json.loads(arguments)) == ("weather", ARGUMENTS)
    by_name = {"messages": [{"role": "user", "content": "the weather?"}], "tools": tools}
    assert generate(by_name, "chat").tool is not None
    other = {"messages": [{"role": "user", "content": "hello"}], "tools": tools}
    assert generate(other, "chat").tool is None


@pytest.mark.parametrize(
    "last",
    [
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}]},
    ],
)
def test_after_a_result_there_is_text(last: dict[str, Any]) -> None:
    """A tool's result is answered, not followed by another call."""
    body = {"messages": [*ASK["messages"], last], "tools": TOOLS["openai"]}
    assert generate(body, "chat").tool is None


def test_reasoning_has_tokens() -> None:
    """The model `reasoning` reports 64 tokens of reasoning within its output."""
    plain, thinking = generate(ASK, "chat"), generate(ASK, "reasoning")
    assert (plain.reasoning_tokens, thinking.reasoning_tokens) == (0, 64)
    assert thinking.output_tokens == plain.output_tokens + 64
    usage = replies.chat(thinking)["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("make", [textual, called])
def test_chat_chunks_add_up(make: Any, usage: bool) -> None:
    """The deltas add up to the message, usage is the last chunk if requested, `[DONE]` ends the stream."""
    reply = make()
    *chunks, done = replies.chat_events(reply, usage=usage)
    assert done == "[DONE]"
    assert (chunks[-1]["choices"] == []) is usage
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    message = replies.chat(reply)["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
    calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
    assert "".join(call["arguments"] for call in calls) == (reply.tool[1] if reply.tool else "")


@pytest.mark.parametrize("make", [textual, called])
def test_response_events_add_up(make: Any) -> None:
    """The deltas add up to the item, and the last event has the whole response."""
    reply = make()
    events = list(replies.response_events(reply))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1] == {"type": "response.completed", "response": replies.response(reply)}
    deltas = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    assert deltas == (reply.tool[1] if reply.tool else reply.text)


@pytest.mark.parametrize("make", [textual, called])
def test_message_events_add_up(make: Any) -> None:
    """The deltas add up to the block, and the stop reason is the message's."""
    reply = make()
    events = list(replies.message_events(reply))
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    whole = "".join(delta.get("text", delta.get("partial_json", "")) for delta in deltas)
    assert whole == (reply.tool[1] if reply.tool else reply.text)
    assert events[-2]["delta"]["stop_reason"] == replies.message(reply)["stop_reason"]


def test_embeddings_have_both_encodings() -> None:
    """Eight floats for each input, or the same in base64."""
    floats = replies.embeddings({"input": ["a", "b"]}, "embed")["data"]
    coded = replies.embeddings({"input": ["a", "b"], "encoding_format": "base64"}, "embed")["data"]
    for plain, packed in zip(floats, coded, strict=True):
        assert struct.unpack("<8f", base64.b64decode(packed["embedding"])) == pytest.approx(plain["embedding"])
    assert floats[0]["embedding"] != floats[1]["embedding"]
    assert replies.embeddings({"input": "a"}, "embed")["data"][0]["embedding"] == floats[0]["embedding"]
