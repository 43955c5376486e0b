"""Token counts estimated by length, for providers that report none; marked as estimates.

A token is taken for four bytes of UTF-8. Measured with OpenAI's o200k vocabulary, that is 4.0 to 4.9 for
prose, 4.1 for Python, 3.2 for JSON, 4.7 for Chinese and Japanese, 5.0 for Korean (bytes, unlike characters,
hold across scripts); Russian, at 7.5, is the worst seen.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Compaction,
    File,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
    Usage,
)
from gateway.dialects.shared.parameters import PREVIOUS_RESPONSE_ID
from gateway.dialects.wire.json import UNREADABLE

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4  # the overhead of a chat format for one turn


def estimate(request: ChatRequest, response: ChatResponse) -> Usage:
    """Return the reported usage with estimates for missing counts; None if no estimate is possible."""
    reported = response.usage or Usage()
    input_tokens = _input(request) if reported.input_tokens is None else reported.input_tokens
    parts = [p for m in response.output_messages for p in m.parts]
    output_tokens = _tokens(parts) if response.output_messages else None
    if reported.output_tokens is not None:
        output_tokens = reported.output_tokens
    known = input_tokens is not None and output_tokens is not None
    total_tokens = (input_tokens or 0) + (output_tokens or 0) if known else None
    if reported.total_tokens is not None and reported.input_tokens is reported.output_tokens is None:
        total_tokens = reported.total_tokens  # the only count (MiniMax): only its parts are estimated
        if input_tokens is not None:
            input_tokens = max(0, min(input_tokens, total_tokens))
            output_tokens = max(0, total_tokens - input_tokens)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=reported.cache_read_tokens,
        cache_write_tokens=reported.cache_write_tokens,
        reasoning_tokens=reported.reasoning_tokens,
        source="estimated",
    )


def _input(request: ChatRequest) -> int | None:
    """Estimate the input; None if part of it is stored elsewhere, or is no text."""
    unseen = request.conversation_id is not None or PREVIOUS_RESPONSE_ID in request.parameters
    parts = [*request.system_instructions, *(p for m in request.input_messages for p in _flat(m.parts))]
    media = any(isinstance(p, Blob | Uri | File) for p in parts)
    if unseen or media or not request.input_messages:
        return None
    definitions = bytes(request.tool_definitions) if request.tool_definitions is not None else b""
    return _tokens(parts) + len(definitions) // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE * len(request.input_messages)


def _flat(parts: list[Part]) -> Iterator[Part]:
    """Yield the parts, and in the place of a tool's answer that is made of parts, those."""
    for part in parts:
        if isinstance(part, ToolCallResponse) and isinstance(part.response, list):
            yield from part.response
        else:
            yield part


def _tokens(parts: Iterable[Part]) -> int:
    return -(-sum(_size(part) for part in parts) // BYTES_PER_TOKEN)


def _size(part: Part) -> int:
    """Return the bytes a model reads or writes for a part."""
    match part:
        case Text() | Reasoning() | Refusal() | Compaction():
            return _bytes(part.content or "")
        case ToolCall():
            return _bytes(part.name) + _bytes(part.arguments)
        case ToolCallResponse():
            return _bytes(part.response)
    return _bytes(part)


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    try:
        return len(msgspec.json.encode(value))
    except UNREADABLE:
        return 0
