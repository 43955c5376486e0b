"""Routes: the dialects on both sides of the gateway, and the operation's name."""

import pytest
from msgspec import structs

from gateway.config.model import Config
from gateway.dialects.registry import DIALECTS, ENDPOINTS
from gateway.providers.route import Route
from gateway.providers.table import build

OPENAI = build(Config(), {})["openai"]


def route(dialect: str | None, translated_to: str | None = None) -> Route:
    """Return a route from one dialect to another, or to the same."""
    return Route(
        provider=OPENAI,
        target="/v1/x",
        endpoint=ENDPOINTS["openai-chat"],
        dialect=None if dialect is None else DIALECTS[dialect],
        translated_to=None if translated_to is None else DIALECTS[translated_to],
    )


@pytest.mark.parametrize(
    ("dialect", "spoken", "operation"),
    [
        ("openai-chat", "openai-chat", "chat"),
        ("openai-completions", "openai-chat", "text_completion"),
        ("openai-embeddings", "openai-chat", "embeddings"),
        ("openai-responses", "openai-responses", "chat"),
        ("anthropic-messages", "anthropic-messages", "chat"),
        ("gemini", "gemini", "generate_content"),
        ("ollama", "ollama", "chat"),
        ("ollama-generate", "ollama", "text_completion"),
        ("ollama-embed", "ollama", "embeddings"),
        ("bedrock-converse", "bedrock-converse", "chat"),
        (None, None, "relay"),
    ],
)
def test_a_relayed_request_has_one_dialect(dialect: str | None, spoken: str | None, operation: str) -> None:
    """The client's is the provider's, by the name that configurations have for it."""
    relayed = route(dialect)
    assert (relayed.client_dialect, relayed.upstream_dialect, relayed.operation) == (spoken, spoken, operation)
    assert relayed.upstream_reader is relayed.dialect


def test_a_translated_request_has_two() -> None:
    """The provider's response is read in the provider's, whose operation the span has."""
    translated = route("openai-completions", "gemini")
    assert (translated.client_dialect, translated.upstream_dialect) == ("openai-chat", "gemini")
    assert translated.upstream_reader is DIALECTS["gemini"]
    assert translated.operation == "generate_content"


def test_a_repr_shows_no_key() -> None:
    """The query of a target may have one."""
    shown = repr(structs.replace(route("gemini"), target="/v1beta/models/g:generateContent?key=secret"))
    assert shown == "<Route openai /v1beta/models/g:generateContent generate_content>"
