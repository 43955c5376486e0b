"""Anthropic's messages: content as typed blocks, streamed block by block."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.anthropic.read_parts import NAME, read_blocks
from gateway.dialects.conversation import ChatResponse, Message, Part, Usage
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.failure import Failure, words
from gateway.dialects.shared.reported_error import ReportedError, error_of, is_failure
from gateway.dialects.shared.usage import CountNames, usage_beside_cache
from gateway.dialects.wire.json import count, decode, fields, objects, text


class _Message(Struct, gc=False):
    """A whole response, or the `message` of a stream's first event; an error body too."""

    id: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


_MESSAGE = msgspec.json.Decoder(_Message)


# The dialect's word -> the vocabulary's.
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def read_finish(reason: Any) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and the dialect's own word if it is another."""
    word = text(reason)
    known = FINISH_REASONS.get(word or "")
    if known is None:
        return ("error", word) if is_failure(word) else (word, None)
    return known, word


_COUNTS = CountNames(
    input_tokens="input_tokens",
    output_tokens="output_tokens",
    cache_read="cache_read_input_tokens",
    cache_write="cache_creation_input_tokens",
)


# Counts of an iteration that the usage has as well.
_ITERATED = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def _usage(reported: dict[str, Any]) -> Usage | None:
    details = fields(reported.get("output_tokens_details"))
    reported = _with_compactions(reported)
    if count(reported.get("cache_creation_input_tokens")) is None and (
        written := [n for each in fields(reported.get("cache_creation")).values() if (n := count(each)) is not None]
    ):
        reported = {**reported, "cache_creation_input_tokens": sum(written)}
    return usage_beside_cache(reported, _COUNTS, count(details.get("thinking_tokens")))


def _with_compactions(reported: dict[str, Any]) -> dict[str, Any]:
    """Add the tokens of compactions to the counts, which leave them out and of which the same model made them.

    The tokens of an advisor, which is another model, stay out. Source: the docstring of `iterations` in Anthropic's
    SDK.
    """
    compactions = [each for each in objects(reported.get("iterations")) if each.get("type") == "compaction"]
    whole = dict(reported) if compactions else reported
    for each in compactions:
        for name in _ITERATED:
            if (more := count(each.get(name))) is not None:
                whole[name] = (count(whole.get(name)) or 0) + more
    return whole


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    whole = decode(body, _MESSAGE)
    if whole is None:
        return ChatResponse()
    return chat_response(whole, read_blocks(whole.content), fields(whole.usage), error_of(whole.error))


def chat_response(message: _Message, parts: list[Part], usage: dict[str, Any], error: ReportedError) -> ChatResponse:
    """Return a response from its fields, read whole or streamed."""
    reason, word = read_finish(message.stop_reason)
    answers = bool(parts) or reason is not None
    return ChatResponse(
        id=text(message.id),
        model=text(message.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[_output(message, parts, reason, word)] if answers else [],
        usage=_usage(usage),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
    )


def _output(message: _Message, parts: list[Part], reason: str | None, word: str | None) -> Message:
    stop = {"stop_sequence": text(message.stop_sequence), "stop_details": fields(message.stop_details) or None}
    return Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word, extra=own(NAME, stop, *stop))


_EXHAUSTED_MESSAGE = re.compile(
    r"your credit balance is too low|you have reached your specified API usage limits", re.IGNORECASE
)


def read_failure(error: Mapping[str, Any], message: str) -> Failure:
    """Read credits that are used up: an error of its own type, or a bad request by its message."""
    return Failure(exhausted="billing_error" in words(error) or _EXHAUSTED_MESSAGE.match(message) is not None)
