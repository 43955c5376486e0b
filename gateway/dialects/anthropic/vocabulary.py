"""Why a message of Anthropic's ended, what it took, and what went wrong, in Anthropic's words. Pure."""

from typing import Any

from gateway.dialects.conversation import Usage
from gateway.dialects.shared.unsupported import Dropped

Json = dict[str, Any]

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
# Other dialects' words for what this one has a word for.
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
    """Return the dialect's word: its own where it was told one, else the one of the same meaning."""
    if word in _WORDS or reason in _WORDS:
        return str(word if word in _WORDS else reason)
    if reason is not None and reason not in _REASONS:
        dropped.add(f"finish_reason: {word or reason}")
    return _REASONS.get(reason or "stop", "end_turn")


def write_usage(usage: Usage | None) -> Json:
    """Write token counts; input leaves out what the cache gave and took. The SDKs want both numbers."""
    said: Json = {"input_tokens": 0, "output_tokens": 0} | known_usage(usage)
    return said


def known_usage(usage: Usage | None) -> Json:
    """Write those token counts that are known."""
    if usage is None:
        return {}
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    fresh = None if usage.input_tokens is None else max(0, usage.input_tokens - (read or 0) - (written or 0))
    said = {
        "input_tokens": fresh,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }
    known: Json = {key: value for key, value in said.items() if value is not None}
    if usage.reasoning_tokens is not None:
        known["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return known


def error_type(word: str | None) -> str:
    """Return the dialect's word for an error, by the provider's word for it."""
    return str(word) if word in _TYPES else _SAME.get(word or "", "api_error")
