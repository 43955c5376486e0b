"""Chronicle's errors: `{"error": {"kind", "message", "details": {"body", "details"}}}`. Pure."""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import Kind

# Its kinds of failed attempts. Source: chronicle's ProviderErrorKind.
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
    Kind.UNSUPPORTED: "unrecoverable_server_error",
}
# Those of requests that reached no provider: by the error's code, else by its kind.
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


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error of the gateway's own. Its message replaces a provider's body, as the client shows only that."""
    name = _BEFORE.get(word or "") or _REFUSALS.get(kind) or _ATTEMPTS[kind]
    return _body(name, message, message)


def wrap_error(kind: Kind, message: str, text: str) -> bytes:
    """Write a provider's error: the `text` of its body as JSON if it is some, else as a string."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _body(_ATTEMPTS[kind], message, text or None)
    return _body(_ATTEMPTS[kind], message, Raw(text.encode()))


def event(message: str, error: Any = None) -> bytes:
    """Return the event of a failure within a stream. `error`: the provider's own, if it sent one."""
    data = {"error": {"message": message} if error is None else error, "message": message}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(data)


def write_event(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write the event of an error of the gateway's own."""
    return event(message)


def _body(kind: str, message: str, body: Any) -> bytes:
    details = {"body": body, "details": None}
    return msgspec.json.encode({"error": {"kind": kind, "message": message, "details": details}})
