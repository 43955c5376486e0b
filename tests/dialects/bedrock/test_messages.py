"""Messages as Converse's turns."""

import json

from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.conversation import (
    Blob,
    Message,
    Text,
    ToolCall,
    ToolCallResponse,
)
from tests.dialects.bedrock.requests import HI, LOOK, assistant, sent, user


def test_system_and_developer_messages_stand_apart() -> None:
    """Wherever they came, they are the system's text; their pictures cannot be."""
    body, dropped = sent(
        Message(role="developer", parts=[Text(content="Be brief.", cache="5m")]),
        user(HI),
        Message(
            role="system", parts=[Text(content="Now."), Blob(modality="image", mime_type="image/png", content="AA==")]
        ),
        system_instructions=[Text(content="You are a guide.")],
    )
    assert body["system"] == [
        {"text": "You are a guide."},
        {"text": "Be brief."},
        {"cachePoint": {"type": "default", "ttl": "5m"}},
        {"text": "Now."},
    ]
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]
    assert dropped == ["system: image"]


def test_a_systems_turn_that_changes_the_tools_stays_in_its_place() -> None:
    """Bedrock's own turns of the system have a place among the others."""
    added = {"toolAddition": {"tool": {"name": "look"}}}
    path = "/model/anthropic.claude-opus-5-v1%3A0/converse"
    messages = [{"role": "user", "content": [{"text": "Hi"}]}, {"role": "system", "content": [added]}]
    asked = CONVERSE.read_conversation(json.dumps({"messages": messages}).encode(), path)
    assert json.loads(CONVERSE_WRITER.request(asked).body)["messages"] == messages


def test_turns_alternate() -> None:
    """Messages of one side are one turn, tools' results with the user's words; empty ones are left out."""
    call = ToolCall(id="c1", name="look", arguments={})
    body, dropped = sent(
        user(Text(content="a")),
        user(Text(content="b")),
        assistant(Text(content=""), call),
        Message(role="tool", parts=[ToolCallResponse(id="c1", response="seen")]),
        Message(role="tool", parts=[ToolCallResponse(id="c2", response="")]),
        user(Text(content="c")),
        assistant(Text(content="")),
        user(Text(content="d")),
        tools=[LOOK],
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "user"]
    assert body["messages"][0]["content"] == [{"text": "a"}, {"text": "b"}]
    assert body["messages"][1]["content"] == [{"toolUse": {"toolUseId": "c1", "name": "look", "input": {}}}]
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "c1", "content": [{"text": "seen"}]}},
        {"toolResult": {"toolUseId": "c2", "content": []}},
        {"text": "c"},
    ]
    assert dropped == []


def test_a_name_stands_before_the_text() -> None:
    """Converse has no names; a message without a text loses its own."""
    image = Blob(modality="image", mime_type="image/png", content="AA==")
    body, dropped = sent(user(image, HI, name="ann"), assistant(HI), user(image, name="bob"))
    assert body["messages"][0]["content"][1] == {"text": "ann: Hi"}
    assert dropped == ["messages[2].name"]
