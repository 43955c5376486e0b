"""An answer as Converse's response, whole, and an error's body."""

from typing import Any

import msgspec

from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.read_response import FINISH_REASONS
from gateway.dialects.bedrock.write_parts import ID_FORM, Blocks
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Usage
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import Dropped
from gateway.errors import Kind

Json = dict[str, Any]

_WORDS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "content_filtered",
    "error": "malformed_model_output",
}
# Their HTTP statuses are those of Bedrock's service model.
_ERROR_TYPES = {
    400: "ValidationException",
    401: "AccessDeniedException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    502: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_OWN_TYPES = frozenset(_ERROR_TYPES.values()) | {"ModelNotReadyException"}


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:  # noqa: ARG001
    """Write a whole response. It has no place for ids, the model's name and the time."""
    dropped = Dropped()
    blocks = Blocks(None, dropped, to_model=False)
    first, *others = response.output_messages or [Message(role="assistant", parts=[])]
    for choice, _ in enumerate(others, 1):
        dropped.add(f"choices[{choice}]")
    dropped.foreign(response.extra, NAME)
    own = response.extra.get(NAME, {})
    parts = ResponseIds(response.id or str(now), ID_FORM).identified(first.parts)
    content = blocks.content([(part, f"parts[{i}]") for i, part in enumerate(parts)])
    body: Json = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason(first.finish_reason, first.finish_word),
        "usage": write_usage(response.usage, own, dropped),
        **beside(own),
    }
    return msgspec.json.encode(body), dropped.names


def stop_reason(reason: str | None, word: str | None) -> str:
    """Return the stop reason in Converse's word; a word that it does not have stays as it is.

    >>> stop_reason("stop", "stop_sequence"), stop_reason("length", "MAX_TOKENS"), stop_reason("pause_turn", None)
    ('stop_sequence', 'max_tokens', 'pause_turn')
    """
    if word in FINISH_REASONS:
        return str(word)
    return "end_turn" if reason is None else _WORDS.get(reason, reason)


def write_usage(usage: Usage | None, own: Json, dropped: Dropped) -> Json:
    """Write the usage, which Converse always has: unknown counts are 0, and cached input is not in the input."""
    usage = usage or Usage()
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    if usage.reasoning_tokens:
        dropped.add("usage.reasoning_tokens")
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    written: Json = {
        "inputTokens": max(0, input_tokens - (read or 0) - (write or 0)),
        "outputTokens": output_tokens,
        "totalTokens": input_tokens + output_tokens if usage.total_tokens is None else usage.total_tokens,
    }
    if read is not None:
        written["cacheReadInputTokens"] = read
    if write is not None:
        written["cacheWriteInputTokens"] = write
    return written | {key: value for key, value in own.items() if key == "cacheDetails"}


def beside(own: Json) -> Json:
    """Return the fields beside a message and its usage; the latency, which Converse always has, is 0 if unknown."""
    return {"metrics": {"latencyMs": 0}, **{key: value for key, value in own.items() if key != "cacheDetails"}}


def error_type(kind: Kind, status: int, word: str | None = None) -> str:
    """Return the type of an error, for the header `x-amzn-ErrorType`; `word` is the provider's own for it."""
    if word in _OWN_TYPES:
        return str(word)
    if kind is Kind.RATE_LIMIT:
        return "ThrottlingException"
    return _ERROR_TYPES.get(status) or ("InternalServerException" if status >= 500 else "ValidationException")


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body. AWS's SDKs find its type here if there is no header."""
    return msgspec.json.encode({"__type": error_type(kind, status, word), "message": message})
