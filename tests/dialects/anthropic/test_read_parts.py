"""Anthropic's content blocks as parts of the conversation."""

from typing import Any

import pytest

from gateway.dialects.anthropic.read_parts import _CITED, cited_fields, read_blocks, read_citations
from gateway.dialects.anthropic.write_parts import write_blocks
from gateway.dialects.conversation import Citation, Compaction, Other, Part, Reasoning, Text, ToolCall, ToolCallResponse
from gateway.dialects.shared.writer import Dropped

OWN = "anthropic-messages"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("hi", [Text(content="hi")]),
        ("", []),
        (None, []),
        ([7, {"type": "text", "text": "a"}], [Text(content="a")]),
        ([{"type": "thinking", "thinking": "hm"}], [Reasoning(content="hm")]),
        (
            [{"type": "thinking", "thinking": "", "signature": "s"}],
            [Reasoning(content="", extra={OWN: {"signature": "s"}})],
        ),
        ([{"type": "redacted_thinking", "data": "d"}], [Reasoning(content="", extra={OWN: {"data": "d"}})]),
        ([{"type": "compaction", "content": "so far"}], [Compaction(content="so far")]),
        ([{"type": "tool_use", "id": "t", "name": "f", "input": {}}], [ToolCall(id="t", name="f", arguments={})]),
        (
            [{"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}],
            [ToolCall(id="t", name="f", arguments={})],
        ),
        (
            [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}], "is_error": True}],
            [ToolCallResponse(id="t", response="a", is_error=True)],
        ),
        ([{"type": "novel", "x": 1}], [Other(kind="novel", value={"x": 1}, dialect=OWN)]),
        (
            [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            [Text(content="a", cache="1h")],
        ),
    ],
)
def test_blocks_are_parts(content: Any, parts: list[Part]) -> None:
    """A text, or a list of blocks; anything that is no block is skipped."""
    assert read_blocks(content) == parts


@pytest.mark.parametrize(("kind", "fields"), [*_CITED.items(), ("web_search_result_location", ("url", "title"))])
def test_a_citation_has_the_address_and_the_title_of_its_source(kind: str, fields: tuple[str, str]) -> None:
    """Their fields differ by the kind of citation; what the form has no place for is kept."""
    assert cited_fields(kind) == fields
    citation = {"type": kind, fields[0]: "https://a", fields[1]: "A", "cited_text": "a", "n": 1}
    assert read_citations([citation]) == [
        Citation(uri="https://a", title="A", quote="a", extra={OWN: {"type": kind, "n": 1}})
    ]


def test_results_do_not_nest() -> None:
    """A result within a result, which the API refuses, is kept as it is."""
    inner = {"type": "tool_result", "tool_use_id": "u", "content": []}
    (result,) = read_blocks([{"type": "tool_result", "tool_use_id": "t", "content": [inner]}])
    assert result == ToolCallResponse(id="t", response=[Other(kind="tool_result", value=inner, dialect=OWN)])


TEXT = {"type": "text", "text": "42"}
FOUND = {"type": "search_result", "source": "https://e.example", "title": "T", "content": [TEXT]}
PARTED = {"type": "document", "source": {"type": "content", "content": [TEXT]}, "title": "T"}


@pytest.mark.parametrize("block", [FOUND, PARTED])
def test_texts_with_a_source_are_texts_and_come_back_as_they_were(block: dict[str, Any]) -> None:
    """So that other providers get what they hold."""
    (part,) = read_blocks([block])
    assert isinstance(part, Text)
    assert "42" in part.content
    assert write_blocks([(part, "p")], Dropped()) == [block]


def test_a_search_result_begins_with_its_title_and_source() -> None:
    """As a reader of the text needs to know them."""
    (part,) = read_blocks([FOUND])
    assert isinstance(part, Text)
    assert part.content == "T\nhttps://e.example\n42"
