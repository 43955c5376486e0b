"""Errors as chronicle's clients read them: `{"error": {"kind", "message", "details": {"body", "details"}}}`. Pure."""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import ExchangeError, Kind

# Its words for how an attempt failed. Source: the seed's taxonomy, which ours is made of.
_ATTEMPTS = {
    Kind.SERVER: "provider_server_error",
    Kind.SENDING: "provider_connection_error",
    Kind.PARSING: "parsing_provider_response",
    Kind.CLOSED: "provider_connection_closed",
    Kind.RATE_LIMIT: "rate_limit",
    Kind.TIMEOUT: "timeout",
    Kind.PERMANENT: "unrecoverable_server_error",
    Kind.BAD_INPUT: "provider_rejected_input",
    Kind.AUTH: "provider_rejected_token",
    Kind.CREDITS: "out_of_credits",
    Kind.GENERIC: "generic",
    Kind.NOT_FOUND: "not_found",
    Kind.TOO_LARGE: "provider_rejected_input",
}
# The same for what no provider was asked: by our word for it, else by its kind.
_BEFORE = {
    "missing_model": "missing_model",
    "unknown_provider": "missing_provider",
    "model_not_found": "missing_provider",
    "bad_option": "invalid_proxy_headers",
    "bad_body": "invalid_request",
    "option_not_allowed": "invalid_request",
    "unknown_key": "invalid_request",
}
_REFUSALS = {
    Kind.AUTH: "auth_missing",
    Kind.BAD_INPUT: "transforming_request",
    Kind.TOO_LARGE: "request_too_large",
}


def ours(error: ExchangeError) -> bytes:
    """Return the body for an error of the gateway's own: its text stands where a provider's would.

    Chronicle's client shows that, and nothing else.
    """
    kind = _BEFORE.get(error.code) or _REFUSALS.get(error.kind) or _ATTEMPTS[error.kind]
    return _body(kind, error.message, error.message)


def providers(kind: Kind, message: str, text: str) -> bytes:
    """Return the body for a provider's error: its `text` as the JSON it is, else as a string."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _body(_ATTEMPTS[kind], message, text or None)
    return _body(_ATTEMPTS[kind], message, Raw(text.encode()))


def event(message: str, error: Any = None) -> bytes:
    """Return what tells of a failure within a stream. `error`: the provider's own, where it said one."""
    told = {"error": {"message": message} if error is None else error, "message": message}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(told)


def _body(kind: str, message: str, body: Any) -> bytes:
    details = {"body": body, "details": None}
    return msgspec.json.encode({"error": {"kind": kind, "message": message, "details": details}})
