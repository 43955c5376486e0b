"""A choice of a streamed chat completion."""

from typing import Any

import pytest

from gateway.dialects.conversation import (
    Citation,
    Text,
    ToolCall,
)
from tests.dialects.openai_chat.reading import answer, delta, streamed


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": 0, "id": "b", "function": {"name": "g", "arguments": "[1]"}},
            ],
            [ToolCall(id="a", name="f", arguments={}), ToolCall(id="b", name="g", arguments=[1])],
        ),
        (
            [
                {"id": "a", "function": {"name": "f", "arguments": "{"}},
                {"function": {"arguments": "}"}},
                {"id": "b", "function": {"name": "g", "arguments": ""}},
            ],
            [ToolCall(id="a", name="f", arguments={}), ToolCall(id="b", name="g")],
        ),
        (
            [
                {"index": 3, "id": "a", "function": {"name": "f", "arguments": "{"}},
                {"index": 3, "id": "a", "function": {"name": "f", "arguments": "}"}},
            ],
            [ToolCall(id="a", name="f", arguments={})],
        ),
    ],
    ids=["every index 0", "no index", "the id repeated"],
)
def test_tool_calls_of_careless_providers_are_told_apart(deltas: list[dict[str, Any]], calls: list[ToolCall]) -> None:
    """A new id starts a new call, whatever the index."""
    answered = streamed(b"".join(delta(tool_calls=[d]) for d in deltas))
    assert [answer(*calls, finish_reason=None)] == answered.output_messages


def test_sources_of_a_streamed_text_are_kept() -> None:
    """Annotations, which come last, are of the text before them."""
    cited = {"url": "https://example.com/a", "title": "A", "start_index": 0, "end_index": 2}
    data = delta(content="So.") + delta(annotations=[{"type": "url_citation", "url_citation": cited}, {"type": "?"}])
    citation = Citation(uri="https://example.com/a", title="A", start=0, end=2)
    assert [answer(Text(content="So.", citations=[citation]), finish_reason=None)] == streamed(data).output_messages


def test_places_of_sources_are_in_their_own_text() -> None:
    """They count in the whole text of the message, of which a later part is only the end."""
    cited = {"url": "https://example.com/a", "title": "A", "start_index": 3, "end_index": 5}
    data = delta(content="So.") + delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])
    data += delta(content="Yes.") + delta(annotations=[{"type": "url_citation", "url_citation": cited}])
    [message] = streamed(data).output_messages
    citation = Citation(uri="https://example.com/a", title="A", start=0, end=2)
    assert message.parts[2] == Text(content="Yes.", citations=[citation])
