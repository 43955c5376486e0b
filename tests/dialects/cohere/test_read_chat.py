"""Cohere's requests and whole responses, as its API reference has them."""

import json
from typing import Any

import pytest

from gateway.dialects.cohere import COHERE_CHAT, COHERE_EMBED
from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Citation,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolCallResponse,
    Usage,
)

CALL = {"id": "look_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
USED = {"billed_units": {"input_tokens": 5, "output_tokens": 9}, "tokens": {"input_tokens": 20, "output_tokens": 9}}


def test_a_chats_request() -> None:
    """Turns, tools, and settings by Cohere's own names."""
    body = {
        "model": "command-a-03-2025",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "look_1", "content": "sunny"},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "p": 0.5,
        "k": 3,
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "token_budget": 100},
    }
    read = COHERE_CHAT.read_request(json.dumps(body).encode())
    assert (read.model, read.stream) == ("command-a-03-2025", True)
    assert [m.role for m in read.input_messages] == ["system", "user", "assistant", "tool"]
    assert read.input_messages[1].parts == [Text(content="hi")]
    assert ToolCall(id="look_1", name="look", arguments={"a": 1}) in read.input_messages[2].parts
    assert isinstance(read.input_messages[3].parts[0], ToolCallResponse)
    assert read.tool_definitions is not None
    assert read.parameters == {
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 3,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.reasoning.level": "enabled",
    }


def test_a_whole_response() -> None:
    """Thoughts, text with its sources, tool calls, and the tokens that the model has seen."""
    source = {"type": "document", "id": "d", "document": {"title": "T", "url": "https://x", "snippet": "s"}}
    body = {
        "id": "c14c80c3",
        "finish_reason": "COMPLETE",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello"}],
            "citations": [{"start": 0, "end": 5, "text": "Hello", "sources": [source]}],
        },
        "usage": USED | {"cached_tokens": 16},
    }
    cited = Citation(uri="https://x", title="T", quote="s", start=0, end=5)
    assert COHERE_CHAT.read_response(json.dumps(body).encode()) == ChatResponse(
        id="c14c80c3",
        finish_reasons=["stop"],
        output_messages=[
            Message(
                role="assistant",
                parts=[Reasoning(content="Hm."), Text(content="Hello", citations=[cited])],
                finish_reason="stop",
                finish_word="COMPLETE",
            )
        ],
        usage=Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=16),
    )


def test_tool_calls_have_a_plan() -> None:
    """It is the reasoning before them."""
    message = {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [CALL]}
    read = COHERE_CHAT.read_response(json.dumps({"finish_reason": "TOOL_CALL", "message": message}).encode())
    (answer,) = read.output_messages
    assert answer.parts == [
        Reasoning(content="I will look."), ToolCall(id="look_1", name="look", arguments={"a": 1}),
    ]  # fmt: skip
    assert read.finish_reasons == ["tool_calls"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("ERROR", "error"),
        ("TIMEOUT", "error"),
        ("NEW", "NEW"),
    ],
)
def test_finish_reasons_are_the_one_vocabularys(word: str, reason: str) -> None:
    """Those of failures are errors; an unknown one stays."""
    assert COHERE_CHAT.read_response(json.dumps({"finish_reason": word}).encode()).finish_reasons == [reason]


def test_embeddings() -> None:
    """Texts and images up, billed tokens back; the vectors are not recorded."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    inputs = [{"content": [{"type": "text", "text": "there"}, image]}]
    body = {"model": "embed-v4.0", "texts": ["hi"], "inputs": inputs, "output_dimension": 256}
    read = COHERE_EMBED.read_request(json.dumps(body).encode())
    assert (read.model, read.parameters) == ("embed-v4.0", {"gen_ai.embeddings.dimension.count": 256})
    texts = [Text(content="hi"), Text(content="there")]
    assert read.input_messages[0].parts == [*texts, Blob(modality="image", mime_type="image/png", content="AAAA")]
    answered: Any = {"id": "e", "embeddings": {"float": [[0.1]]}, "meta": {"billed_units": {"input_tokens": 2}}}
    embedded = COHERE_EMBED.read_response(json.dumps(answered).encode())
    assert (embedded.id, embedded.output_messages) == ("e", [])
    assert embedded.usage is not None
    assert embedded.usage.input_tokens == 2


@pytest.mark.parametrize("dialect", [COHERE_CHAT, COHERE_EMBED])
def test_an_error_has_a_message_alone(dialect: Any) -> None:
    """And bytes that are no JSON have nothing."""
    read = dialect.read_response(b'{"id":"e","message":"invalid api token"}')
    assert (read.error_message, read.output_messages) == ("invalid api token", [])
    for junk in (b"", b"[]", b"\xff", b'{"message":3,"usage":[],"meta":"x"}'):
        assert dialect.read_response(junk) == ChatResponse()
        assert dialect.read_request(junk).input_messages == []
