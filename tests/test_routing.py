"""Routing: path, headers and model -> provider and upstream target."""

import pytest

from gateway.config import parse
from gateway.dialects.edit import Peek
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.routing import choose, place

CONFIG = """
[providers.local]
base_url = "http://127.0.0.1:9000/v1"
prefix = "local/"
[providers.root]
base_url = "http://127.0.0.1:9001"
dialect = ["openai-chat", "anthropic-messages"]
"""


@pytest.fixture(name="providers", scope="module")
def _providers():
    return table.build(parse(CONFIG, {}, "t"), {}) | {"demo": table.demo("http://127.0.0.1:9999/v1")}


def _route(providers, method, target, model=None, *, anthropic=False):
    return choose(place(method, target, anthropic, providers), Peek(model), providers)


@pytest.mark.parametrize(
    ("target", "provider", "upstream"),
    [
        ("/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("/chat/completions", "openai", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("/v1/messages?beta=true", "anthropic", "/v1/messages?beta=true"),
        ("/v1/messages/count_tokens?beta=true", "anthropic", "/v1/messages/count_tokens?beta=true"),
        ("/v1/messages/batches", "anthropic", "/v1/messages/batches"),
        ("/openai/v1/models/gpt%2F4?a=%20b&c", "openai", "/v1/models/gpt%2F4?a=%20b&c"),
        ("/anthropic/v1/models", "anthropic", "/v1/models"),
        ("/local/v1/anything//odd/", "local", "/v1/anything//odd/"),
        ("/local/no/version", "local", "/v1/no/version"),
        ("/root/no/version", "root", "/no/version"),
        ("/root/v1/chat/completions", "root", "/v1/chat/completions"),
        ("/v1/unknown/path", "openai", "/v1/unknown/path"),
        ("/v1", "openai", "/v1"),
    ],
)
def test_a_path_names_its_provider_and_target(providers, target, provider, upstream):
    """Bare paths go by their API, mounted ones by the mount; query and escapes are kept."""
    route = _route(providers, "POST", target)
    assert (route.provider.name, route.target) == (provider, upstream)


def test_a_client_that_sends_anthropic_headers_is_sent_there(providers):
    """Paths that both APIs have go by the header only Anthropic's clients send."""
    assert _route(providers, "GET", "/v1/models", anthropic=True).provider.name == "anthropic"
    assert _route(providers, "GET", "/v1/models").provider.name == "openai"


@pytest.mark.parametrize(
    ("model", "provider", "renamed"),
    [
        ("gpt-5", "openai", None),
        ("local/big", "local", "big"),
        ("openai/gpt-5", "openai", "gpt-5"),
        ("demo/chat", "demo", "chat"),
        ("meta/llama", "openai", None),
        (None, "openai", None),
    ],
)
def test_a_models_prefix_names_the_provider_on_a_bare_path(providers, model, provider, renamed):
    """`prefix/model` is sent to its provider as `model`; other names stay as they are."""
    route = _route(providers, "POST", "/v1/chat/completions", model)
    assert (route.provider.name, route.rename, route.model) == (provider, renamed, model)


def test_a_mounted_path_never_looks_at_the_model(providers):
    """A provider whose models have slashes in their names gets them unchanged."""
    route = _route(providers, "POST", "/local/v1/chat/completions", "openai/gpt-5")
    assert (route.provider.name, route.rename) == ("local", None)


@pytest.mark.parametrize(
    ("target", "model", "status", "said"),
    [
        ("/nowhere", None, 404, "/openai/"),
        ("/", None, 404, "/-/"),
        ("/anthropic/v1/embeddings", None, 400, "anthropic-messages"),
        ("/v1/embeddings", "anthropic/x", 400, "$.providers.anthropic.dialect"),
        ("/v1/chat/completions", "local/", 400, "local/NAME"),
    ],
)
def test_what_cannot_be_routed_says_what_to_change(providers, target, model, status, said):
    """An error names the choices, or the setting."""
    with pytest.raises(ExchangeError) as caught:
        _route(providers, "POST", target, model)
    assert caught.value.status == status
    assert said in caught.value.message


def test_dialects_are_known_by_path_and_family(providers):
    """What is read for the trace, and in whose words an error is said."""
    chat = _route(providers, "POST", "/v1/chat/completions")
    assert (chat.spoken, chat.operation, chat.family) == ("openai-chat", "chat", "openai")
    embeddings = _route(providers, "POST", "/v1/embeddings")
    assert (embeddings.spoken, embeddings.operation) == ("openai-chat", "embeddings")
    messages = _route(providers, "POST", "/root/v1/messages")
    assert (messages.spoken, messages.family) == ("anthropic-messages", "anthropic")
    models = _route(providers, "GET", "/v1/models")
    assert (models.spoken, models.operation) == (None, "relay")
