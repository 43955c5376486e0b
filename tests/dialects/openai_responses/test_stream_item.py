"""One output item of a streamed response."""

import json

import pytest

from gateway.dialects.conversation import (
    ChatResponse,
    Message,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_responses import RESPONSES
from tests.dialects.openai_responses.test_read_response import CREATED, MODEL, USAGE, Read, answer, own

STREAMS = {
    "responses_text.sse": ChatResponse(
        id="resp_1",
        model=MODEL,
        created=CREATED,
        finish_reasons=["stop"],
        output_messages=[
            answer(
                Reasoning(content="**Greeting** They say hi."),
                Reasoning(content="Answer.", extra=own(id="rs_1")),
                Text(content="Hi thère."),
                finish_reason="stop",
            )
        ],
        usage=USAGE,
        conversation_id="conv_1",
    ),
    "responses_tools.sse": ChatResponse(
        id="resp_2",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_a", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_b", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
        usage=USAGE,
    ),
    "responses_incomplete.sse": ChatResponse(
        id="resp_3",
        model=MODEL,
        created=CREATED,
        finish_reasons=["length"],
        output_messages=[
            answer(
                ServerToolCall(
                    id="ws_1",
                    name="web_search",
                    server_tool_call={
                        "type": "web_search_call",
                        "action": {"type": "search", "query": "tides", "sources": []},
                    },
                ),
                Text(content="Twice a"),
                finish_reason="length",
                finish_word="max_output_tokens",
            )
        ],
        usage=USAGE,
    ),
    "responses_refusal.sse": ChatResponse(
        id="resp_7",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Refusal(content="I won't delete that."),
                ToolCall(
                    id="call_p",
                    name="apply_patch",
                    arguments="*** Begin Patch\n*** End Patch\n",
                    custom=True,
                ),
                finish_reason="tool_calls",
            )
        ],
        usage=Usage(
            input_tokens=40,
            output_tokens=21,
            total_tokens=61,
            cache_read_tokens=0,
            cache_write_tokens=0,
            reasoning_tokens=0,
        ),
    ),
    "responses_failed.sse": ChatResponse(
        id="resp_4",
        model=MODEL,
        created=CREATED,
        finish_reasons=["error"],
        output_messages=[answer(Text(content="Half"), finish_reason="error")],
        error_type="server_error",
        error_message="The model failed to generate a response.",
    ),
    "responses_error.sse": ChatResponse(
        id="resp_5", model=MODEL, created=CREATED, error_type="rate_limit_exceeded", error_message="Slow down."
    ),
}


def events_of(stream: bytes) -> list[bytes]:
    """Cut a stream into its events."""
    return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]


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
