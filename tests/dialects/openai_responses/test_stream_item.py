"""One output item of a streamed response."""

import json

import pytest

from gateway.dialects.conversation import (
    Message,
    Reasoning,
    Refusal,
    ServerToolCall,
    ToolCall,
)
from gateway.dialects.openai_responses import RESPONSES
from tests.dialects.openai_responses.reading import Read, answer
from tests.dialects.openai_responses.streams import STREAMS, events_of


@pytest.mark.parametrize("name", ["responses_text.sse", "responses_tools.sse", "responses_incomplete.sse"])
def test_the_deltas_alone_say_as_much_as_the_last_event(read: Read, name: str) -> None:
    """A stream that breaks before its last event has all its parts, from the items or from their deltas."""
    events = events_of(read(name))[:-1]
    for kept in (events, [e for e in events if b"output_item.done" not in e or b"web_search" in e]):
        reader = RESPONSES.stream_reader()
        reader.feed(b"".join(kept))
        [message] = reader.response().output_messages
        [whole] = STREAMS[name].output_messages
        assert message == Message(role="assistant", parts=whole.parts)
        assert reader.response().usage is None


def test_deltas_of_every_kind_are_joined() -> None:
    """Refusals, reasoning, custom tools, MCP and code are content, even where their item never began."""
    reader = RESPONSES.stream_reader()
    for index, (kind, pieces) in enumerate(
        {
            "refusal": ["No", "."],
            "reasoning_text": ["H", "m"],
            "custom_tool_call_input": ["l", "s"],
            "mcp_call_arguments": ["{", "}"],
            "code_interpreter_call_code": ["1", "+1"],
            "novel": ["x"],
        }.items()
    ):
        for piece in pieces:
            event = {"type": f"response.{kind}.delta", "output_index": index, "delta": piece}
            reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert reader.response().output_messages == [
        answer(
            Refusal(content="No."),
            Reasoning(content="Hm"),
            ToolCall(name="", arguments="ls", custom=True),
            ServerToolCall(name="mcp", server_tool_call={"type": "mcp_call", "arguments": "{}"}),
            ServerToolCall(name="code_interpreter", server_tool_call={"type": "code_interpreter_call", "code": "1+1"}),
            finish_reason=None,
        )
    ]
