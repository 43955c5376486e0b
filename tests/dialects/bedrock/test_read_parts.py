"""Converse's content blocks, read."""

import json
from typing import Any

import pytest

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.conversation import (
    Blob,
    Citation,
    Message,
    Other,
    Part,
    Reasoning,
    ServerToolCallResponse,
    Text,
    ToolCallResponse,
)
from tests.dialects.bedrock.parts import full
from tests.dialects.strategies_bedrock import own


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"guardContent": {"image": {"format": "png", "source": {"bytes": "AA=="}}}},
            Blob(modality="image", mime_type="image/png", content="AA==", extra=own({"guardContent": {}})),
        ),
        (
            {"guardContent": {"novel": 1}},
            Other(kind="guardContent", value={"novel": 1}, dialect="bedrock-converse"),
        ),
        (
            {"toolAddition": {"tool": {"name": "look"}}},
            Other(kind="toolAddition", value={"tool": {"name": "look"}}, dialect="bedrock-converse"),
        ),
        (
            {"cachePoint": {"type": "default"}},
            Other(kind="cachePoint", value={"type": "default"}, dialect="bedrock-converse"),
        ),
        (
            {"document": {"name": "n", "source": {"content": [{"text": "a"}]}}},
            Other(
                kind="document",
                value={"name": "n", "source": {"content": [{"text": "a"}]}},
                dialect="bedrock-converse",
            ),
        ),
        (
            {"image": {"format": "bmp", "source": {"bytes": "AA=="}, "error": {"message": "m"}}},
            Blob(modality="image", mime_type="image/bmp", content="AA==", extra=own({"error": {"message": "m"}})),
        ),
        (
            {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": []}},
            Text(content="ab"),
        ),
        (
            {
                "citationsContent": {
                    "content": [{"text": "a"}],
                    "citations": [{"sourceContent": [{"text": "q"}, {"text": "r"}], "location": {"web": {}}}],
                }
            },
            Text(
                content="a",
                citations=[
                    Citation(
                        quote="qr",
                        extra=own({"sourceContent": [{"text": "q"}, {"text": "r"}], "location": {"web": {}}}),
                    )
                ],
            ),
        ),
        (
            {"toolResult": {"toolUseId": "t", "type": "x_result", "content": [{"text": "a"}]}},
            ServerToolCallResponse(
                id="t",
                server_tool_call_response={"type": "x_result", "content": [{"text": "a"}]},
                extra=own({"type": "x_result"}),
            ),
        ),
        ({"reasoningContent": {}}, Other(kind="reasoningContent", value={}, dialect="bedrock-converse")),
        ({"text": 7}, Other(kind="text", value=7, dialect="bedrock-converse")),
        ({}, Other(kind="", value=None, dialect="bedrock-converse")),
    ],
)
def test_blocks_of_every_kind_have_a_place(block: dict[str, Any], part: Part) -> None:
    """Blocks without a word in the form are kept as they stand."""
    body = json.dumps({"messages": [{"role": "assistant", "content": [block, 7]}]}).encode()
    assert CONVERSE.read_request(body).input_messages == [Message(role="assistant", parts=[part])]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        (None, ""),
        ([], ""),
        ([{"text": "one"}], "one"),
        ([{"json": {"a": 1}}], {"a": 1}),
        ([{"json": [1]}], [Other(kind="json", value=[1], dialect="bedrock-converse")]),
        (
            [{"toolResult": {"content": []}}],
            [Other(kind="toolResult", value={"content": []}, dialect="bedrock-converse")],
        ),
    ],
)
def test_a_tools_answer_is_its_text_or_its_json(content: Any, response: Any) -> None:
    """A result is a text, a JSON object, or a list of parts."""
    block = {"toolResult": {"toolUseId": "t", "content": content, "status": "success"}}
    body = json.dumps({"messages": [{"role": "user", "content": [block]}]}).encode()
    expected = Message(role="tool", parts=[ToolCallResponse(id="t", response=response)])
    assert CONVERSE.read_request(body).input_messages == [expected]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (["text", "default", "5m"], [Text(content="text", cache="default"), "5m"]),
        (["5m", "text"], ["5m", Text(content="text")]),
        (["thought", "default"], [Reasoning(content="thought"), "default"]),
        (["text", {"type": "novel"}], [Text(content="text"), {"type": "novel"}]),
    ],
)
def test_a_cache_point_without_a_part_to_mark_is_kept(content: list[Any], parts: list[Any]) -> None:
    """A point is a mark of the part before it; if that has one, or can have none, it stays a part."""

    def block(word: Any) -> dict[str, Any]:
        if word == "text":
            return {"text": "text"}
        if word == "thought":
            return {"reasoningContent": {"reasoningText": {"text": word}}}
        return {"cachePoint": point(word)}

    def point(word: Any) -> Any:
        ttl = {} if word == "default" else {"ttl": word}
        return word if isinstance(word, dict) else {"type": "default", **ttl}

    read = full({"system": [block(word) for word in content]}).system_instructions
    kept = [
        Other(kind="cachePoint", value=point(p), dialect="bedrock-converse") if isinstance(p, str | dict) else p
        for p in parts
    ]
    assert read == kept
