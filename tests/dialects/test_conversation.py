"""The conversation form as the conventions' JSON."""

import msgspec
import pytest

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    File,
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
    Uri,
    tool_answer,
)

PARTS: list[tuple[Part, str]] = [
    (Text(content="a"), "text"),
    (Reasoning(content="a"), "reasoning"),
    (Refusal(content="a"), "refusal"),
    (Compaction(content="a"), "compaction"),
    (ToolCall(id="c", name="f", arguments={"a": 1}), "tool_call"),
    (ToolCallResponse(id="c", response="a"), "tool_call_response"),
    (ServerToolCall(name="f", server_tool_call={"type": "f"}), "server_tool_call"),
    (ServerToolCallResponse(server_tool_call_response={"type": "f"}), "server_tool_call_response"),
    (Blob(modality="image", content="AA"), "blob"),
    (Uri(modality="image", uri="https://a"), "uri"),
    (File(modality="image", file_id="f"), "file"),
    (Other(kind="novel"), "other"),
]


@pytest.mark.parametrize(("part", "kind"), PARTS, ids=[kind for _, kind in PARTS])
def test_a_part_has_the_schemas_type_and_comes_back(part: Part, kind: str) -> None:
    """The schema distinguishes parts by `type`; fields that are not set are left out."""
    data = msgspec.json.encode(Message(role="user", parts=[part]))
    (encoded,) = msgspec.json.decode(data)["parts"]
    assert encoded["type"] == kind
    assert None not in encoded.values()
    assert msgspec.json.decode(data, type=Message).parts == [part]


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([], ""),
        ([Text(content="a")], "a"),
        ([Text(content="a", cache="5m")], [Text(content="a", cache="5m")]),
        ([Text(content="a", citations=[Citation(uri="u")])], [Text(content="a", citations=[Citation(uri="u")])]),
        ([Text(content="a"), Text(content="b")], [Text(content="a"), Text(content="b")]),
        ([Refusal(content="a")], [Refusal(content="a")]),
    ],
)
def test_a_tools_result_is_a_text_or_parts(parts: list[Part], answer: str | list[Part]) -> None:
    """One plain text is a string; a text with anything more to it stays a part."""
    assert tool_answer(parts) == answer
