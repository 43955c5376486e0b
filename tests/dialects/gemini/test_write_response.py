import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
)
from gateway.dialects.gemini import GEMINI, GEMINI_WRITER
from gateway.dialects.shared.extra import encode_state
from gateway.errors import Kind
from tests.dialects.gemini.responses import ASKED, NOW, answered, parts_of, streamed, whole
from tests.dialects.strategies_gemini import stream_events

SIGNED = {"anthropic-messages": {"signature": "s"}}


def test_a_response_of_another_dialect_is_gemini_s() -> None:
    """The model is the requested one if none is reported; unknown fields are left out."""
    body, dropped = whole(answered(Text(content="hi")))
    assert body == {
        "candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}, "index": 0, "finishReason": "STOP"}],
        "modelVersion": "gemini-3-flash",
    }
    assert dropped == []


@pytest.mark.parametrize(
    ("reason", "word", "written", "dropped"),
    [
        ("stop", None, "STOP", []),
        ("stop", "end_turn", "STOP", []),
        ("tool_calls", "tool_use", "STOP", []),
        ("length", None, "MAX_TOKENS", []),
        ("content_filter", "refusal", "SAFETY", []),
        ("content_filter", "BLOCKLIST", "BLOCKLIST", []),
        ("error", None, "OTHER", []),
        ("pause_turn", None, "OTHER", ["output[0]: pause_turn"]),
        ("LANGUAGE", None, "LANGUAGE", []),
        (None, None, None, []),
    ],
)
def test_finish_reasons_are_googles_words(
    reason: str | None, word: str | None, written: str | None, dropped: list[str]
) -> None:
    """Each word of the vocabulary has one of Google's; a word of another provider's that has none is named."""
    answer = answered(Text(content="hi"), finish_reason=reason, finish_word=word)
    body, names = whole(answer)
    assert body["candidates"][0].get("finishReason") == written
    assert names == dropped
    chunks, names = streamed(stream_events(answer))
    assert chunks[-1]["candidates"][0].get("finishReason") == written
    assert names == dropped


@pytest.mark.parametrize(
    ("part", "written", "dropped"),
    [
        (Refusal(content="no"), {"text": "no"}, ["output[0].parts[0]: refusal"]),
        (Reasoning(content=""), None, []),
        (
            Reasoning(content="", extra=SIGNED),
            {"text": "", "thought": True, "thoughtSignature": encode_state(SIGNED)},
            [],
        ),
        (
            Text(content="a", extra={"gemini": {"thoughtSignature": "c2ln"}, "x": {"y": 1}}),
            {"text": "a", "thoughtSignature": "c2ln"},
            ["output[0].parts[0].y"],
        ),
        (
            ToolCall(id="c", name="patch", arguments="*** Begin", custom=True),
            {"functionCall": {"id": "c", "name": "patch", "args": {"input": "*** Begin"}}},
            [],
        ),
        (
            ToolCall(id="c", name="f", arguments='{"torn'),
            {"functionCall": {"id": "c", "name": "f", "args": {"input": '{"torn'}}},
            [],
        ),
        (
            ServerToolCall(name="web_search", server_tool_call={"type": "web_search"}),
            None,
            ["output[0].parts[0]: server tool call"],
        ),
        (
            Blob(modality="image", mime_type="image/png", content="AAAA", extra={"x": {"y": 1}}),
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            ["output[0].parts[0].y"],
        ),
    ],
)
def test_parts_of_others_are_written_or_named(part: Part, written: Any, dropped: list[str]) -> None:
    """Each part has words in Gemini's, whole and streamed, or is named; what others want back goes in a signature."""
    body, names = whole(answered(part))
    assert parts_of(body) == ([] if written is None else [written])
    assert names == dropped
    chunks, names = streamed(stream_events(answered(part), 100))
    found = [p for chunk in chunks for p in parts_of(chunk) if p != {"text": ""}]
    text = "".join(p.get("text", "") for p in found)
    assert names == dropped
    if written is not None and "text" in written:
        assert {k: v for p in found for k, v in p.items()} | {"text": text} == written
    else:
        assert found == ([] if written is None else [written])


def test_what_a_signature_carries_comes_back() -> None:
    """A thought of another provider's has its own signature again in the client's next request."""
    thought = Reasoning(content="hm", extra={"anthropic-messages": {"signature": "s"}, "x": {"y": [1]}})
    body, _ = whole(answered(thought))
    assert GEMINI.read_conversation is not None
    again = json.dumps({"contents": [body["candidates"][0]["content"]]}).encode()
    asked = GEMINI.read_conversation(again, "")
    assert asked.input_messages == [Message(role="assistant", parts=[thought])]


def test_an_error_that_came_with_status_200_is_an_error() -> None:
    """A whole response that is an error is written as one, and read as one."""
    body, _ = GEMINI_WRITER.response(ChatResponse(error_type="overloaded_error", error_message="Too much."), ASKED, NOW)
    assert json.loads(body) == {"error": {"code": 503, "message": "Too much.", "status": "UNAVAILABLE"}}
    assert GEMINI.read_response(body) == ChatResponse(error_type="UNAVAILABLE", error_message="Too much.")


def test_foreign_facts_of_a_response_are_named() -> None:
    """Fields that another provider has beside its response have no place."""
    answer = replace(
        answered(Text(content="hi"), conversation_id="c", extra={"openai-chat": {"system_fingerprint": "f"}}),
        output_messages=[Message(role="assistant", parts=[], extra={"openai-chat": {"annotations": []}})],
    )
    assert whole(answer)[1] == ["output[0].annotations", "system_fingerprint", "conversation"]
    assert streamed(stream_events(answer))[1] == ["system_fingerprint", "output[0].annotations"]


def test_an_error_body_says_what_others_called_it() -> None:
    """Google's word goes by the status; the provider's own and the request's id are in the details."""
    body = json.loads(GEMINI_WRITER.error(Kind.CREDITS, 402, "Pay.", "insufficient_quota", "req"))
    assert body == {
        "error": {
            "code": 402,
            "message": "Pay.",
            "status": "FAILED_PRECONDITION",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "insufficient_quota"},
                {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req"},
            ],
        }
    }
    assert "details" not in json.loads(GEMINI_WRITER.error(Kind.SERVER, 418, "m", None, ""))["error"]
