"""OpenAI's Responses: a response is a list of items, streamed as the making of each."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.conversation import ChatResponse, Message, Part, ToolCall
from gateway.dialects.openai_responses.read_parts import read_item
from gateway.dialects.openai_responses.read_request import conversation_id
from gateway.dialects.shared.reported_error import ReportedError, error_of, is_failure
from gateway.dialects.shared.usage import usage_of
from gateway.dialects.wire.json import count, decode, fields, objects, text


class _Response(Struct, gc=False):
    id: Any = None
    created_at: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: Any = None
    output: Any = None
    usage: Any = None
    tool_usage: Any = None
    service_tier: Any = None
    error: Any = None
    conversation: Any = None
    message: Any = None  # of an error body that has its fields at the top
    code: Any = None


_RESPONSE = msgspec.json.Decoder(_Response)


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    whole = decode(body, _RESPONSE)
    if whole is None:
        return ChatResponse()
    error = whole.error
    if not error and not isinstance(whole.output, list):
        error = {"code": whole.code, "message": whole.message}
    return chat_response(whole, list(objects(whole.output)), error_of(error))


_INCOMPLETE = {"max_output_tokens": "length"}


def read_finish(response: _Response, parts: list[Part]) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and the dialect's own word; None if it has not ended."""
    status = text(response.status)
    if status == "completed":
        return ("tool_calls" if any(isinstance(p, ToolCall) for p in parts) else "stop"), None
    if status == "incomplete":
        reason = text(fields(response.incomplete_details).get("reason")) or status
        known = _INCOMPLETE.get(reason)
        if known is None:
            return ("error", reason) if is_failure(reason) else (reason, None)
        return known, reason
    if status == "failed":
        return "error", None
    return (None, None) if status in {"in_progress", "queued"} else (status, None)


def chat_response(response: _Response, items: list[dict[str, Any]], error: ReportedError) -> ChatResponse:
    """Return a response from its fields, read whole or streamed."""
    parts = [part for item in items for part in read_item(item)]
    reason, word = read_finish(response, parts)
    answers = bool(parts) or reason is not None
    message = Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)
    return ChatResponse(
        id=text(response.id),
        model=text(response.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[message] if answers else [],
        usage=usage_of(response.usage),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
        conversation_id=conversation_id(response.conversation),
        created=count(response.created_at),
    )
