import json
from typing import Any

import pytest

from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.conversation import (
    ChatResponse,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects.anthropic.reading import Read, answer, own


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    assert MESSAGES.read_response(read("messages_whole.json")) == ChatResponse(
        id="msg_05",
        model="claude-sonnet-5-20260801",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="Simple.", extra=own(signature="EqQB")),
                Text(content="Paris."),
                ToolCall(id="toolu_09", name="note", arguments={"city": "Paris"}),
                finish_reason="tool_calls",
                finish_word="tool_use",
            )
        ],
        usage=Usage(input_tokens=125, output_tokens=30, total_tokens=155, cache_read_tokens=100, cache_write_tokens=5),
    )


def test_an_error_body_is_read(read: Read) -> None:
    """An error body gives the provider's own type and message, and nothing else."""
    assert MESSAGES.read_response(read("messages_error.json")) == ChatResponse(
        error_type="invalid_request_error", error_message="max_tokens: Field required"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"content":7,"usage":[]}', b"[" * 9999])
def test_a_response_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives an empty response."""
    assert MESSAGES.read_response(body) == ChatResponse()


@pytest.mark.parametrize(
    ("reported", "word"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_stop_reasons_are_the_one_vocabularys(reported: str, word: str) -> None:
    """Anthropic's words become the common ones, and are kept; those without one stay as they are."""
    body = json.dumps({"content": [], "stop_reason": reported}).encode()
    answered = MESSAGES.read_response(body)
    known = None if reported == word else reported
    assert answered == ChatResponse(
        finish_reasons=[word], output_messages=[answer(finish_reason=word, finish_word=known)]
    )


def test_what_ended_a_message_is_kept() -> None:
    """The sequence that stopped it, and why it was refused, are this dialect's own."""
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    body = {"content": [], "stop_reason": "stop_sequence", "stop_sequence": "END", "stop_details": details}
    [message] = MESSAGES.read_response(json.dumps(body).encode()).output_messages
    assert message.extra == own(stop_sequence="END", stop_details=details)
    reader = MESSAGES.stream_reader()
    reader.feed(b"data: " + json.dumps({"type": "message_delta", "delta": body}).encode() + b"\n\n")
    assert reader.response().output_messages == [message]


COMPACTED = {
    "input_tokens": 23,
    "output_tokens": 10,
    "cache_read_input_tokens": 5,
    "iterations": [
        {"type": "compaction", "input_tokens": 180, "output_tokens": 35, "cache_read_input_tokens": 100},
        {"type": "message", "input_tokens": 23, "output_tokens": 10, "cache_read_input_tokens": 5},
        {"type": "advisor_message", "model": "m", "input_tokens": 999, "output_tokens": 999},
    ],
}
ITERATED = {
    "compaction": (
        COMPACTED,
        Usage(input_tokens=308, output_tokens=45, total_tokens=353, cache_read_tokens=105),
    ),
    "a compaction alone": (
        {"input_tokens": 0, "output_tokens": 0, "iterations": COMPACTED["iterations"][:1]},
        Usage(input_tokens=280, output_tokens=35, total_tokens=315, cache_read_tokens=100),
    ),
    "cache writes by time alone": (
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        },
        Usage(input_tokens=8, output_tokens=2, total_tokens=10, cache_write_tokens=7),
    ),
    "other types": (
        {"input_tokens": 1, "iterations": [7, {"type": "compaction", "input_tokens": "x"}]},
        Usage(input_tokens=1),
    ),
}


@pytest.mark.parametrize(("reported", "usage"), ITERATED.values(), ids=ITERATED)
def test_usage_includes_compactions(reported: dict[str, Any], usage: Usage) -> None:
    """A compaction's tokens are in its iteration only; an advisor's are another model's. Streamed or not."""
    assert MESSAGES.read_response(json.dumps({"content": [], "usage": reported}).encode()).usage == usage
    reader = MESSAGES.stream_reader()
    reader.feed(b"data: " + json.dumps({"type": "message_delta", "delta": {}, "usage": reported}).encode() + b"\n\n")
    assert reader.response().usage == usage
