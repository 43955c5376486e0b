"""chronicle's errors: the gateway's own, and those of providers inside them."""

import json

import pytest

from gateway.dialects.chronicle import errors
from gateway.errors import ExchangeError, Kind


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Kind.SERVER, "provider_server_error"),
        (Kind.SENDING, "provider_connection_error"),
        (Kind.PARSING, "parsing_provider_response"),
        (Kind.CLOSED, "provider_connection_closed"),
        (Kind.RATE_LIMIT, "rate_limit"),
        (Kind.TIMEOUT, "timeout"),
        (Kind.PERMANENT, "unrecoverable_server_error"),
        (Kind.UNSUPPORTED, "unrecoverable_server_error"),
        (Kind.BAD_INPUT, "provider_rejected_input"),
        (Kind.AUTH, "provider_rejected_token"),
        (Kind.CREDITS, "out_of_credits"),
        (Kind.GENERIC, "generic"),
        (Kind.NOT_FOUND, "not_found"),
        (Kind.TOO_LARGE, "provider_rejected_input"),
    ],
)
def test_the_words_for_providers_errors(kind: Kind, word: str):
    """Each kind has chronicle's; the provider's body is JSON where it is JSON."""
    error = json.loads(errors.wrap_error(kind, "It failed.", '{"error": {"a": 1}}'))["error"]
    assert error == {"kind": word, "message": "It failed.", "details": {"body": {"error": {"a": 1}}, "details": None}}
    for text, shown in (("<html>", "<html>"), ("", None), ("[1", "[1"), ('"a"', "a")):
        assert json.loads(errors.wrap_error(kind, "", text))["error"]["details"]["body"] == shown


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ExchangeError(Kind.AUTH, "No token."), "auth_missing"),
        (ExchangeError(Kind.BAD_INPUT, "So not.", status=400, code="dialect_mismatch"), "transforming_request"),
        (ExchangeError(Kind.BAD_INPUT, "Who?", code="unknown_provider"), "missing_provider"),
        (ExchangeError(Kind.BAD_INPUT, "x-chronicle-timeout: ..", code="bad_option"), "invalid_proxy_headers"),
        (ExchangeError(Kind.TOO_LARGE, "Large."), "request_too_large"),
        (ExchangeError(Kind.SENDING, "Refused."), "provider_connection_error"),
        (ExchangeError(Kind.TIMEOUT, "Late."), "timeout"),
    ],
)
def test_the_words_for_errors_of_ours(error: ExchangeError, word: str):
    """The text is in the field in which chronicle's client looks for a provider's."""
    body = json.loads(errors.write_error(error.kind, error.status, error.message, error.code, "0123"))["error"]
    assert body == {"kind": word, "message": error.message, "details": {"body": error.message, "details": None}}


def test_an_event_has_the_providers_error_or_ours():
    """The message is beside it, in the field that the client reads."""
    head, data = b"event: error\ndata: ", {"error": {"code": 1}, "message": "No."}
    assert errors.event("No.", {"code": 1}) == head + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
    own = errors.write_event(Kind.CLOSED, 502, "No.", None, "0123")
    assert own == errors.event("No.") == head + b'{"error":{"message":"No."},"message":"No."}\n\n'
