"""A response as a message of Anthropic's: whole, or an error; `anthropic_stream` has the same as a stream."""

from typing import Any

import msgspec

from gateway.dialects.anthropic.read_parts import NAME
from gateway.dialects.anthropic.write_parts import ID_FORM, shown_citations, write_block
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Reasoning, Refusal, Text, Usage
from gateway.dialects.shared.extra import encode_state, foreign
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import Dropped
from gateway.errors import Kind

Json = dict[str, Any]


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response: its first choice. An error that came in its place is written as one."""
    dropped = Dropped()
    dropped.foreign(response.extra, NAME)
    if response.error_type or response.error_message:
        text = response.error_message or "the provider reported an error"
        error = {"type": error_type(response.error_type), "message": text}
        return msgspec.json.encode({"type": "error", "error": error}), dropped.names
    if len(response.output_messages) > 1:
        dropped.add("choices[1]")
    message = response.output_messages[0] if response.output_messages else Message(role="assistant", parts=[])
    dropped.foreign(message.extra, NAME)
    own = message.extra.get(NAME, {})
    ident = response.id or f"msg_{int(now)}"
    parts = ResponseIds(ident, ID_FORM).identified(message.parts)
    body: Json = {
        "id": ident,
        "type": "message",
        "role": "assistant",
        "model": response.model or request.model,
        "content": [block for i, part in enumerate(parts) if (block := _block(part, i, dropped)) is not None],
        "stop_reason": write_reason(message.finish_reason, message.finish_word, dropped),
        "stop_sequence": own.get("stop_sequence"),
        "usage": write_usage(response.usage),
    }
    if "stop_details" in own:
        body["stop_details"] = own["stop_details"]
    return msgspec.json.encode(body), dropped.names


def _block(part: Part, index: int, dropped: Dropped) -> Json | None:
    path = f"content[{index}]"
    if isinstance(part, Reasoning) and not part.extra.get(NAME):
        others = foreign(part.extra, NAME)
        signature = encode_state(others) if others else ""
        thinking = {"type": "thinking", "thinking": part.content, "signature": signature}
        return thinking if part.content or others else None
    dropped.foreign(getattr(part, "extra", {}), NAME, path)
    match part:
        case Text() if not part.extra.get(NAME):
            if part.logprobs:
                dropped.add("logprobs")
            citations = shown_citations(part.citations)
            if len(citations) < len(part.citations):
                dropped.add(f"{path}.citations")
            # A null here is none that all clients take.
            return {"type": "text", "text": part.content} | ({"citations": citations} if citations else {})
        case Refusal():
            return {"type": "text", "text": part.content}
    block = write_block(part, path, dropped)
    if block is None:
        dropped.add_part(part, path)
    return block


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body. Its type is that of the status, which clients use."""
    error = {"type": STATUS_TYPES.get(status, kind.fact.anthropic), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


_WORDS = frozenset(
    "end_turn max_tokens stop_sequence tool_use pause_turn refusal model_context_window_exceeded".split()
)


STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


_TYPES = frozenset(STATUS_TYPES.values())


# Other dialects' words, and this one's for the same.
_SAME = {
    "rate_limit_exceeded": "rate_limit_error",
    "RESOURCE_EXHAUSTED": "rate_limit_error",
    "ThrottlingException": "rate_limit_error",
    "insufficient_quota": "billing_error",
    "UNAVAILABLE": "overloaded_error",
    "server_is_overloaded": "overloaded_error",
    "INVALID_ARGUMENT": "invalid_request_error",
}


def write_reason(reason: str | None, word: str | None, dropped: Dropped) -> str:
    """Return the dialect's word: its own if it has one, else that of the same meaning, else the provider's."""
    if word in _WORDS or reason in _WORDS:
        return str(word if word in _WORDS else reason)
    if reason is not None and reason not in _REASONS:
        dropped.add(f"finish_reason: {word or reason}")
        return word or reason
    return _REASONS.get(reason or "stop", "end_turn")


def write_usage(usage: Usage | None) -> Json:
    """Write token counts; input leaves out those of the cache. The SDKs want both numbers."""
    members: Json = {"input_tokens": 0, "output_tokens": 0} | known_usage(usage)
    return members


def known_usage(usage: Usage | None) -> Json:
    """Write those token counts that are known."""
    if usage is None:
        return {}
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    fresh = None if usage.input_tokens is None else max(0, usage.input_tokens - (read or 0) - (written or 0))
    members = {
        "input_tokens": fresh,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }
    known: Json = {key: value for key, value in members.items() if value is not None}
    if usage.reasoning_tokens is not None:
        known["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return known


def error_type(word: str | None) -> str:
    """Return the dialect's word for an error, by the provider's word for it."""
    return str(word) if word in _TYPES else _SAME.get(word or "", "api_error")
