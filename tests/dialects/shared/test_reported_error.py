"""Failures in the body of a success: recognized in each dialect, whole and streamed, with the status they stand for."""

import json
from typing import Any

import pytest

from gateway.dialects.conversation import ChatResponse, Message
from gateway.dialects.registry import DIALECTS
from gateway.dialects.shared.reported_error import (
    NO_ERROR,
    ReportedError,
    error_of,
    failure_of,
    finish_failure,
    is_failure,
    status_of,
)
from gateway.dialects.wire import eventstream

CHAT, RESPONSES, MESSAGES = "openai-chat", "openai-responses", "anthropic-messages"
GEMINI, OLLAMA, CONVERSE = "gemini", "ollama", "bedrock-converse"


def choice(**members: Any) -> dict[str, Any]:
    """Return a chat completion of one choice."""
    return {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}} | members]}


WHOLE: list[tuple[str, Any, int]] = [
    (CHAT, {"error": {"message": "no", "code": 429}}, 429),
    (CHAT, {"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}, 402),
    (CHAT, {"error": {"message": "no", "type": "invalid_request_error", "code": "model_not_found"}}, 404),
    (CHAT, {"error": {"message": "no", "metadata": {}}}, 502),
    (CHAT, {"error": "no"}, 502),
    (CHAT, {"error": True}, 502),
    (CHAT, {"id": "c", "choices": [], "error": {"message": "no", "code": "503"}}, 503),
    (CHAT, choice(error={"code": 502, "message": "no"}, finish_reason="error"), 502),
    (CHAT, {"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, 400),
    (CHAT, {"detail": "no"}, 502),
    (CHAT, {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, 429),
    (CHAT, choice(finish_reason="insufficient_system_resource"), 503),
    (CHAT, choice(finish_reason="network_error"), 502),
    (CHAT, choice(finish_reason="error"), 502),
    (CHAT, choice(finish_reason="function_call_filter: MALFORMED_FUNCTION_CALL"), 502),
    (RESPONSES, {"error": {"message": "no", "code": "rate_limit_exceeded"}}, 429),
    (RESPONSES, {"id": "r", "status": "failed", "output": [], "error": {"code": "server_error", "message": "no"}}, 500),
    (RESPONSES, {"id": "r", "status": "failed", "output": [], "error": None}, 502),
    (MESSAGES, {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 529),
    (MESSAGES, {"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}, 429),
    (GEMINI, {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}, 503),
    (GEMINI, [{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}], 429),
    *(
        (GEMINI, {"candidates": [{"content": {}, "finishReason": word}]}, 502)
        for word in (
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "MALFORMED_RESPONSE",
            "UNEXPECTED_SOMETHING_NEW",
        )
    ),
    (OLLAMA, {"error": "model runner has unexpectedly stopped"}, 502),
    (OLLAMA, {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "error"}, 502),
    (CONVERSE, {"__type": "ThrottlingException", "message": "no"}, 429),
    (CONVERSE, {"output": {"message": {"content": []}}, "stopReason": "malformed_tool_use"}, 502),
]


@pytest.mark.parametrize(("dialect", "body", "status"), WHOLE, ids=lambda value: str(value)[:60])
def test_a_whole_body_that_fails_is_recognized(dialect: str, body: Any, status: int):
    """An error object in any shape, a failed status and a finish word of failure have the status they stand for."""
    failure = failure_of(DIALECTS[dialect].read_response(json.dumps(body).encode()))
    assert failure is not None
    assert (failure.status, bool(failure.message)) == (status, True)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        *((CHAT, choice(finish_reason=word)) for word in ("stop", "length", "content_filter", "eos", "end_turn", None)),
        (CHAT, choice(finish_reason="tool_calls", error=None)),
        (CHAT, {"ok": True}),
        (CHAT, {"choices": [{"message": {"content": "a"}}], "message": "beside it"}),
        (CHAT, {"choices": [{"message": {"content": "a"}}], "base_resp": {"status_code": 0, "status_msg": "success"}}),
        (RESPONSES, {"id": "r", "status": "completed", "output": [], "error": None}),
        (RESPONSES, {"id": "r", "status": "incomplete", "output": [], "incomplete_details": {"reason": "steered"}}),
        *((MESSAGES, {"content": [], "stop_reason": word}) for word in ("end_turn", "refusal", "pause_turn")),
        *((GEMINI, {"candidates": [{"finishReason": word}]}) for word in ("STOP", "SAFETY", "OTHER", "LANGUAGE")),
        (GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}}),
        *((OLLAMA, {"message": {"content": "a"}, "done": True, "done_reason": word}) for word in ("stop", "load")),
        (CONVERSE, {"output": {"message": {"content": []}}, "stopReason": "guardrail_intervened"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_whole_body_that_ends_well_is_no_failure(dialect: str, body: Any):
    """Filters, limits and words that nobody knows are ends of a response, not failures."""
    assert failure_of(DIALECTS[dialect].read_response(json.dumps(body).encode())) is None


def sse(data: Any, name: str = "") -> bytes:
    """Return a server-sent event; `data` as it is if it is a text."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


STREAMS: list[tuple[str, bytes, int]] = [
    (CHAT, sse({"error": {"message": "no", "code": 429}}), 429),
    (CHAT, sse({"choices": [], "error": {"message": "no", "code": 502}}), 502),
    (CHAT, sse({"choices": [{"index": 0, "error": {"message": "no", "code": 503}, "finish_reason": "error"}]}), 503),
    (CHAT, sse({"message": "no", "code": 429}, "error"), 502),
    (CHAT, sse("Internal Server Error", "error"), 502),
    (CHAT, sse({"object": "error", "message": "no", "code": 400}), 400),
    (CHAT, sse({"choices": [{"delta": {}, "finish_reason": "insufficient_system_resource"}]}), 503),
    (RESPONSES, sse({"type": "error", "code": "rate_limit_exceeded", "message": "no"}, "error"), 429),
    (RESPONSES, sse({"type": "error", "error": {"type": "server_error", "message": "no"}}), 500),
    (RESPONSES, sse({"error": {"message": "no", "code": "server_error"}}), 500),
    (RESPONSES, sse({"type": "response.failed", "response": {"status": "failed", "error": {"code": "x"}}}), 502),
    (RESPONSES, sse({"type": "response.failed", "response": {"id": "r", "status": "failed"}}), 502),
    (MESSAGES, sse({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "error"), 529),
    (MESSAGES, sse({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}), 529),
    (MESSAGES, sse({"error": {"message": "no", "code": 429}}, "error"), 429),
    (MESSAGES, sse("upstream connect error", "error"), 502),
    (GEMINI, sse({"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}), 503),
    (GEMINI, b'[{"error": {"code": 429, "message": "no"}}]', 429),
    (GEMINI, sse({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}), 502),
    (OLLAMA, b'{"error": "no"}\n', 502),
    (CONVERSE, eventstream.exception("throttlingException", b'{"message": "no"}'), 429),
    (CONVERSE, eventstream.exception("validationException", b'{"message": "no"}'), 400),
    (CONVERSE, eventstream.exception("modelStreamErrorException", b'{"message": "no"}'), 502),
    (CONVERSE, eventstream.event("messageStop", b'{"stopReason": "malformed_model_output"}'), 502),
]


@pytest.mark.parametrize(("dialect", "data", "status"), STREAMS, ids=lambda value: str(value)[:60])
def test_a_stream_that_begins_with_a_failure_is_recognized(dialect: str, data: bytes, status: int):
    """Each dialect's error event, and others' in its place, fails a stream before any content of it."""
    reader = DIALECTS[dialect].stream_reader()
    assert not reader.started
    reader.feed(data)
    assert reader.started
    assert not reader.first_output
    failure = failure_of(reader.response())
    assert failure is not None
    assert failure.status == status


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((429, "server_error"), 429),
        (("503",), 503),
        ((200, 399, 600, True, None), None),
        ((429, "insufficient_quota"), 402),
        (("billing_hard_limit_reached",), 402),
        (("ThrottlingException",), 429),
        (("RESOURCE_EXHAUSTED",), 429),
        (("server_is_overloaded",), 503),
        (("DEADLINE_EXCEEDED",), 504),
        (("modelTimeoutException",), 504),
        (("invalid_api_key",), 401),
        (("PERMISSION_DENIED",), 403),
        (("ResourceNotFoundException",), 404),
        (("request_too_large",), 413),
        (("context_length_exceeded",), 400),
        (("FAILED_PRECONDITION",), 400),
        (("UNIMPLEMENTED",), 501),
        (("api_error",), 500),
        (("odd",), None),
    ],
)
def test_words_and_numbers_stand_for_a_status(words: tuple[Any, ...], status: int | None):
    """A number of an error's goes before its words, and exhausted credits before both."""
    assert status_of(*words) == status


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("text", ReportedError(None, "text")),
        ({"type": "a", "message": "m"}, ReportedError("a", "m")),
        ({"code": 429, "message": "m"}, ReportedError("429", "m")),
        ({"type": "a", "code": 429, "message": "m"}, ReportedError("a", "m", 429)),
        ({"status": "UNAVAILABLE", "detail": "m"}, ReportedError("UNAVAILABLE", "m")),
        (None, NO_ERROR),
        ([1], NO_ERROR),
    ],
)
def test_an_error_is_read_in_any_shape(value: Any, error: ReportedError):
    """A status is set only if the error's own word does not stand for it."""
    assert error_of(value) == error


def test_a_response_without_an_error_is_no_failure():
    """Neither an empty response nor one with a finish reason of success fails; `error` does."""
    assert failure_of(ChatResponse()) is None
    messages = [Message(role="assistant", parts=[], finish_reason=reason) for reason in ("stop", "error")]
    assert failure_of(ChatResponse(output_messages=messages)) == finish_failure(None)
    assert (is_failure("eos"), is_failure("network_error"), is_failure(None)) == (False, True, False)
