"""Failures that a provider reports in the body of a success: errors in any of their shapes, and finish words. Pure.

A response may begin with the status 200 and fail all the same: a provider further on answered with an error, or the
model broke off. The status that such an error stands for decides about retries, and is that of an error for a client of
another dialect.
"""

import re
from typing import Any, NamedTuple

from msgspec import Struct

from gateway.dialects.conversation import ChatResponse
from gateway.dialects.wire.json import count, fields, text

UNKNOWN_STATUS = 502
"""The status of an error that names none: the provider, or one behind it, failed."""


class ReportedError(NamedTuple):
    """A provider's error: its own word, its message, and the HTTP status it stands for, if the word alone does not.

    None for each unknown.
    """

    type: str | None = None
    message: str | None = None
    status: int | None = None


NO_ERROR = ReportedError()


class ResponseFailure(Struct, frozen=True, kw_only=True):
    """A response that failed, by its body. `status`: an HTTP status from 400 on."""

    status: int
    type: str | None
    message: str


# Words of the APIs, without what is no letter, and the statuses that their APIs send with them; the first match counts.
# Sources: the error pages of OpenAI, Anthropic, AWS Bedrock, OpenRouter, DeepSeek and Moonshot; google.rpc.Code.
_STATUSES = tuple(
    (re.compile(pattern), status)
    for pattern, status in (
        (r"insufficient_?(quota|balance|credit|fund)|billing|payment_?required|exceeded_?current_?quota", 402),
        (r"rate_?limit|resource_?exhausted|throttl|too_?many_?(requests|tokens)", 429),
        (r"overloaded_error", 529),
        (r"overload|unavailable|slow_?down|not_?ready|capacity|insufficient_?system_?resource", 503),
        (r"time_?out|timed_?out|deadline_?exceeded", 504),
        (r"authenticat|unauthorized|api_?key|expired_?token|unrecognized_?client", 401),
        (r"permission|access_?denied|forbidden", 403),
        (r"not_?found", 404),
        (r"too_?large", 413),
        (r"invalid_?(request|argument|prompt|image|parameter|type)|bad_?request|validation|context_?length", 400),
        (r"failed_?precondition|out_?of_?range|content_?policy", 400),
        (r"unimplemented|not_?implemented", 501),
        (r"internal|server_?error|api_?error|data_?loss", 500),
    )
)
_CREDITS = 402

# Finish words of failures. A word that no table has is an end like any other, unless it has one of these in it.
_FAILURE = re.compile(
    r"error|malformed|fail|abort|cancel|insufficient_system_resource|unexpected|timeout|too_many_tool_calls"
    r"|missing_thought_signature",
    re.IGNORECASE,
)


def status_of(*words: Any) -> int | None:
    """Return the HTTP status that an error's codes and types stand for: the first one that has a meaning.

    >>> status_of("rate_limit_exceeded"), status_of(529), status_of("503", "server_error"), status_of("odd")
    (429, 529, 503, None)
    """
    numbers = [number for word in words if (number := _number(word)) is not None]
    named = [status for word in words if (status := _named(word)) is not None]
    if _CREDITS in named:  # quotas are sent with the status of rate limits, which pass
        return _CREDITS
    return next(iter(numbers), None) or next(iter(named), None)


def _number(word: Any) -> int | None:
    number = int(word) if isinstance(word, str) and word.isascii() and word.isdigit() else count(word)
    return number if number is not None and 400 <= number < 600 else None


def _named(word: Any) -> int | None:
    if not isinstance(word, str):
        return None
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word[:100]).lower()
    return next((status for pattern, status in _STATUSES if pattern.search(snake)), None)


def error_of(value: Any) -> ReportedError:
    """Return an error in any of the shapes that providers give it; nothing if it is none."""
    if isinstance(value, str):
        return ReportedError(None, value or None)
    error = fields(value)
    code, status, kind = error.get("code"), error.get("status"), error.get("type")
    word = text(kind) or text(code) or text(status)
    if word is None and count(code) is not None:
        word = str(code)
    named = status_of(code, error.get("status_code"), error.get("http_status"), status, kind)
    message = text(error.get("message")) or text(error.get("detail"))
    return ReportedError(word, message, named if named != status_of(word) else None)


def is_failure(word: str | None) -> bool:
    """Whether a finish word that no table has is a failure's.

    >>> is_failure("MALFORMED_FUNCTION_CALL"), is_failure("network_error"), is_failure("eos")
    (True, True, False)
    """
    return word is not None and _FAILURE.search(word) is not None


def failure_of(response: ChatResponse) -> ResponseFailure | None:
    """Return the failure that a response reports, by an error or by a finish reason; None for any other response."""
    if response.error_type or response.error_message:
        return ResponseFailure(
            status=response.error_status or status_of(response.error_type) or UNKNOWN_STATUS,
            type=response.error_type,
            message=response.error_message or f"the provider reported an error: {response.error_type}",
        )
    for message in response.output_messages:
        if message.finish_reason == "error":
            return finish_failure(message.finish_word)
    return None


def finish_failure(word: str | None) -> ResponseFailure:
    """Return the failure of a response that ended with the finish reason `error`, and the provider's own word."""
    word = word or "error"
    return ResponseFailure(
        status=status_of(word) or UNKNOWN_STATUS, type=word, message=f"the provider ended the response with {word!r}"
    )
