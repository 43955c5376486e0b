"""Converse's responses: content, stop reason, usage, and errors."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.bedrock.read_parts import NAME, read_content
from gateway.dialects.conversation import ChatResponse, Extra, Message, Part, Usage
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.failure import Failure
from gateway.dialects.shared.reported_error import NO_ERROR, ReportedError, is_failure
from gateway.dialects.shared.usage import CountNames, usage_beside_cache
from gateway.dialects.wire.json import decode, fields, text

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class Beside(Struct, gc=False, rename="camel"):
    """The fields of a response that only this dialect has."""

    metrics: Any = None
    additional_model_response_fields: Any = None
    trace: Any = None
    performance_config: Any = None
    service_tier: Any = None

    def as_extra(self, usage: dict[str, Any]) -> Extra:
        """Return them as an `extra`, with the usage's fields of this dialect."""
        return own(
            NAME,
            {
                "metrics": self.metrics,
                "additionalModelResponseFields": self.additional_model_response_fields,
                "trace": self.trace,
                "performanceConfig": self.performance_config,
                "serviceTier": self.service_tier,
                "cacheDetails": usage.get("cacheDetails") or None,
            },
        )


class _Whole(Beside, gc=False, rename="camel"):
    """A whole response, or an error body: its type is in a header, and sometimes in the body too."""

    output: Any = None
    stop_reason: Any = None
    usage: Any = None
    message: Any = None
    capital_message: Any = msgspec.field(name="Message", default=None)
    kind: Any = msgspec.field(name="__type", default=None)
    code: Any = None


_WHOLE = msgspec.json.Decoder(_Whole)


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error's body."""
    whole = decode(body, _WHOLE)
    if whole is None:
        return ChatResponse()
    error = NO_ERROR
    if whole.output is None:
        kind = exception_name(whole.kind) or exception_name(whole.code)
        error = ReportedError(kind, text(whole.message) or text(whole.capital_message))
    parts = read_content(fields(fields(whole.output).get("message")).get("content"))
    return chat_response(parts, text(whole.stop_reason), fields(whole.usage), whole, error)


def chat_response(
    parts: list[Part],
    word: str | None,
    usage: dict[str, Any],
    beside: Beside,
    error: ReportedError,
) -> ChatResponse:
    """Return the record of an answer; `word` is why it stopped."""
    reason, own_word = read_finish(word)
    message = Message(role="assistant", parts=parts, finish_reason=reason, finish_word=own_word)
    return ChatResponse(
        finish_reasons=[reason] if reason else [],
        output_messages=[message] if parts or reason else [],
        usage=usage_of(usage),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
        extra=beside.as_extra(usage),
    )


def read_finish(word: str | None) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and the provider's own word if it is another."""
    reason = None if word is None else FINISH_REASONS.get(word, "error" if is_failure(word) else word)
    return reason, None if reason == word else word


_COUNTS = CountNames(
    input_tokens="inputTokens",
    output_tokens="outputTokens",
    cache_read="cacheReadInputTokens",
    cache_write="cacheWriteInputTokens",
    total_tokens="totalTokens",
)


def usage_of(reported: dict[str, Any]) -> Usage | None:
    """Return Converse's usage."""
    return usage_beside_cache(reported, _COUNTS)


def exception_name(word: Any) -> str | None:
    """Return an error's type without the namespace and the address that some services put round it."""
    return text((text(word) or "").partition(":")[0].rpartition("#")[2])


_EXHAUSTED_MESSAGE = re.compile(r"too many (tokens|requests) per day", re.IGNORECASE)


def read_failure(error: Mapping[str, Any], message: str) -> Failure:  # noqa: ARG001
    """Read a daily quota that is used up, which has the type of any throttling."""
    return Failure(exhausted=_EXHAUSTED_MESSAGE.match(message) is not None)
