"""Streams of the fixtures, cut into events."""

from gateway.dialects.conversation import (
    ChatResponse,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects.openai_responses.test_read_response import CREATED, MODEL, USAGE, answer, own

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
