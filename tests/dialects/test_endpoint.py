"""Endpoints: errors of the gateway's own in the form of each client API."""

import pytest

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.registry import BUILT_IN, ENDPOINTS
from gateway.errors import ExchangeError, Kind
from tests.support.client_errors import error_in

BAD_INPUT = "invalid_request_error"
KINDS = (Kind.SENDING, Kind.RATE_LIMIT, Kind.TIMEOUT, Kind.BAD_INPUT, Kind.AUTH, Kind.NOT_FOUND, Kind.TOO_LARGE)


@pytest.mark.parametrize("endpoint", BUILT_IN, ids=lambda each: each.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_body_in_every_familys_words(endpoint, kind):
    """Whatever went wrong, the message is where the client's SDK looks for it."""
    error = ExchangeError(kind, "what happened, and what to change", code="why")
    error_body = error_in(endpoint.name, endpoint.error_body(error, "0123"))
    assert error_body["message"] == error.message


@pytest.mark.parametrize(
    ("kind", "status", "openai", "anthropic", "gemini", "bedrock"),
    [
        (Kind.RATE_LIMIT, 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"),
        (Kind.AUTH, 401, "authentication_error", "authentication_error", "UNAUTHENTICATED", "AccessDeniedException"),
        (Kind.BAD_INPUT, 400, BAD_INPUT, BAD_INPUT, "INVALID_ARGUMENT", "ValidationException"),
        (Kind.NOT_FOUND, 404, BAD_INPUT, "not_found_error", "NOT_FOUND", "ResourceNotFoundException"),
        (Kind.SENDING, 502, "server_error", "api_error", "UNAVAILABLE", "ServiceUnavailableException"),
    ],
)  # fmt: skip
def test_a_kind_is_what_each_family_calls_it(kind, status, openai, anthropic, gemini, bedrock):
    """The word by which an SDK, or its user, recognizes the error; Bedrock's is in the head as well."""
    error = ExchangeError(kind, "x", status=status)
    errors = {each.name: error_in(each.name, each.error_body(error, "0123")) for each in BUILT_IN}
    assert (errors["openai-chat"]["type"], errors["azure-openai"]["type"]) == (openai, openai)
    assert errors["openai-responses"]["type"] == openai
    assert errors["anthropic-messages"]["type"] == anthropic
    assert (errors["gemini"]["status"], errors["gemini"]["code"]) == (gemini, status)
    assert errors["bedrock-converse"]["__type"] == bedrock
    assert ENDPOINTS["bedrock-converse"].error_headers(kind, status) == {"x-amzn-ErrorType": bedrock}
    assert ENDPOINTS["openai-chat"].error_headers(kind, status) == {}


def test_an_event_in_a_stream_is_framed_as_the_family_streams():
    """Server-sent, with a name for Anthropic's; a line of JSON; a frame of AWS's."""
    error = ExchangeError(Kind.CLOSED, "it broke off", code="why")
    events = {each.name: each.broken_stream(error, "0123") for each in BUILT_IN}
    for name in ("openai-chat", "openai-responses", "azure-openai", "gemini"):
        assert events[name].startswith(b"data: {")
        assert error_in(name, events[name].removeprefix(b"data: "))["message"] == "it broke off"
    for name in ("anthropic-messages", "anthropic-vertex"):
        assert events[name].startswith(b"event: error\ndata: {")
    assert error_in("ollama", events["ollama"])["message"] == "it broke off"
    assert all(event.endswith(b"\n\n") for name, event in events.items() if name not in {"ollama", "bedrock-converse"})
    reader = CONVERSE.stream_reader()
    reader.feed(events["bedrock-converse"])
    assert (reader.response().error_message, reader.unread) == ("it broke off", 0)
