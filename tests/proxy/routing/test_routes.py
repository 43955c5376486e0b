"""Routing: path, headers and model -> provider and upstream target."""

import pytest

from gateway.config.model import parse
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.proxy.routing.routes import parse_path
from tests.support.routes import ANTHROPICS, first, parsed

CONFIG = """
[providers.local]
base_url = "http://127.0.0.1:9000/v1"
prefix = "local/"
[providers.plain]
base_url = "http://127.0.0.1:9001"
dialect = ["openai-chat", "anthropic-messages"]
[providers.googlish]
base_url = "http://127.0.0.1:9002"
dialect = "gemini"
"""
ENVIRON = {
    "AWS_REGION": "us-east-1",
    "GOOGLE_CLOUD_PROJECT": "p",
    "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com",
}
VERTEX = "/v1/projects/p/locations/global"
GOOGLES = f"{VERTEX}/publishers/google"
DEPLOYMENT = "/openai/deployments/gpt-4o/chat/completions?api-version=1"


def _built(config="", environ=None):
    providers = table.build(parse(config, {}, "t"), ENVIRON if environ is None else environ)
    return providers | {"demo": table.demo("http://127.0.0.1:9999/v1")}


@pytest.fixture(name="providers", scope="module")
def _providers():
    return _built(CONFIG)


def _route(providers, method, target, model=None, *, anthropic=False, fields=()):
    seen = Peek(model, fields=frozenset(fields))
    return first(parsed(method, target, ANTHROPICS if anthropic else (), providers), seen, providers)


# Where a path leads.

PATHS = {
    "openai": [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/chat/completions", "/v1/chat/completions"),
        ("/openai/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/completions", "/v1/completions"),
        ("/v1/responses", "/v1/responses"),
        ("/responses", "/v1/responses"),
        ("/v1/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"),
        ("/v1/embeddings?a=%20b&&c", "/v1/embeddings?a=%20b&&c"),
        ("/openai/v1/models/gpt%2F4?a=%20b&c", "/v1/models/gpt%2F4?a=%20b&c"),
        ("/v1/models/ft:gpt-5:acme::abc", "/v1/models/ft:gpt-5:acme::abc"),
        ("/v1/organization/projects/p1", "/v1/organization/projects/p1"),
        ("/v1/threads/thread_1/messages", "/v1/threads/thread_1/messages"),
        ("/openai/v1/unknown/path", "/v1/unknown/path"),
        ("/openai/v1", "/v1"),
    ],
    "anthropic": [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/messages", "/v1/messages"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/anthropic/v1/messages", "/v1/messages"),
        ("/anthropic/messages", "/v1/messages"),
        ("/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true"),
        ("/v1/messages/batches", "/v1/messages/batches"),
        ("/anthropic/v1/models", "/v1/models"),
        ("/anthropic/v1/files", "/v1/files"),
    ],
    "gemini": [
        ("/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/v1alpha/models/g:streamGenerateContent?alt=sse", "/v1alpha/models/g:streamGenerateContent?alt=sse"),
        ("/v1/models/g:generateContent", "/v1/models/g:generateContent"),
        ("/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/v1beta/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/v1/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/gemini/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/gemini/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("/v1beta/tunedModels/mine:generateContent", "/v1beta/tunedModels/mine:generateContent"),
        ("/v1beta/models/meta/big%2F1:generateContent", "/v1beta/models/meta/big%2F1:generateContent"),
        ("/v1beta/models/g:countTokens", "/v1beta/models/g:countTokens"),
        ("/v1beta/models", "/v1beta/models"),
        ("/upload/v1beta/files", "/upload/v1beta/files"),
        ("/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/gemini/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/gemini/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("/gemini/v1/models", "/v1beta/openai/models"),
    ],
    "cohere": [
        ("/v2/chat", "/v2/chat"),
        ("/v2/rerank?a=%20b", "/v2/rerank?a=%20b"),
        ("/cohere/v2/chat", "/v2/chat"),
        ("/cohere/v1/chat/completions", "/compatibility/v1/chat/completions"),
    ],
    "vertex": [
        ("/v1beta1/projects/q/locations/l/publishers/google/models/g:generateContent",) * 2,
        ("/v1beta1/publishers/google/models/g:generateContent",) * 2,
        ("/v1/projects/q/locations/l/publishers/anthropic/models/claude-x:streamRawPredict",) * 2,
        (f"/vertex{GOOGLES}/models/g:generateContent", f"{GOOGLES}/models/g:generateContent"),
        ("/vertex/v1beta/models/g:generateContent", f"{GOOGLES}/models/g:generateContent"),
        ("/vertex/v1/chat/completions", f"{VERTEX}/endpoints/openapi/chat/completions"),
        ("/v1/projects/q/locations/l/endpoints/openapi/chat/completions",) * 2,
    ],
    "ollama": [
        ("/api/chat", "/api/chat"),
        ("/v1/api/chat", "/api/chat"),
        ("/api/generate", "/api/generate"),
        ("/api/embed", "/api/embed"),
        ("/api/tags", "/api/tags"),
        ("/ollama/api/tags", "/api/tags"),
        ("/ollama/api/blobs/sha256:0", "/api/blobs/sha256:0"),
        ("/ollama/v1/chat/completions", "/v1/chat/completions"),
        ("/ollama/chat/completions", "/v1/chat/completions"),
        ("/ollama/v1/models", "/v1/models"),
    ],
    "aws-bedrock": [
        ("/model/us.amazon.nova-pro-v1%3A0/converse", "/model/us.amazon.nova-pro-v1%3A0/converse"),
        ("/model/us.amazon.nova-pro-v1:0/converse-stream", "/model/us.amazon.nova-pro-v1:0/converse-stream"),
        ("/v1/model/x/converse", "/model/x/converse"),
        ("/model/anthropic.claude/invoke-with-response-stream", "/model/anthropic.claude/invoke-with-response-stream"),
        ("/aws-bedrock/model/a%2Fb/invoke", "/model/a%2Fb/invoke"),
    ],
    "azure-openai": [
        (DEPLOYMENT, DEPLOYMENT),
        ("/v1/openai/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
        ("/openai/deployments/d/extensions/x", "/openai/deployments/d/extensions/x"),
        ("/azure-openai/openai/deployments/d/chat/completions", "/openai/deployments/d/chat/completions"),
        ("/azure-openai/openai/files?api-version=1", "/openai/files?api-version=1"),
        ("/azure-openai/openai/v1/responses", "/openai/v1/responses"),
        ("/azure-openai/v1/chat/completions", "/openai/v1/chat/completions"),
    ],
    "groq": [
        ("/groq/openai/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/groq/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/groq/chat/completions", "/openai/v1/chat/completions"),
        ("/groq/openai/v1/models", "/openai/v1/models"),
    ],
    "deepinfra": [
        ("/deepinfra/v1/openai/chat/completions", "/v1/openai/chat/completions"),
        ("/deepinfra/v1/chat/completions", "/v1/openai/chat/completions"),
    ],
    "deepseek": [
        ("/deepseek/v1/chat/completions", "/chat/completions"),
        ("/deepseek/anthropic/v1/messages", "/anthropic/v1/messages"),
        ("/deepseek/v1/messages", "/anthropic/v1/messages"),
        ("/deepseek", "/"),
        ("/deepseek?a=1", "/?a=1"),
        ("/deepseek/user/balance", "/user/balance"),
        ("/deepseek/v1/user/balance", "/v1/user/balance"),
    ],
    "local": [
        ("/local/v1/anything//odd/", "/v1/anything//odd/"),
        ("/local/no/version", "/v1/no/version"),
        ("//local//chat/completions", "/v1//chat/completions"),
    ],
    "plain": [
        ("/plain/no/version", "/no/version"),
        ("/plain/v1/chat/completions", "/v1/chat/completions"),
        ("/plain/v1/v1/messages", "/v1/messages"),
        ("/plain/openai/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
    ],
    "googlish": [
        ("/googlish/v1alpha/models/m:generateContent", "/v1alpha/models/m:generateContent"),
        ("/googlish/models/m:generateContent", "/v1beta/models/m:generateContent"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "target", "upstream"), [(name, *pair) for name, pairs in PATHS.items() for pair in pairs]
)
def test_a_path_names_its_provider_and_target(providers, provider, target, upstream):
    """Bare paths go by their API, mounted ones by the mount; a version stands there once, queries are kept."""
    route = _route(providers, "POST", target)
    assert (route.provider.name, route.target) == (provider, upstream)
    assert route.translated_to is None


def test_a_client_that_sends_anthropic_headers_is_sent_there(providers):
    """Paths that both APIs have go by the header only Anthropic's clients send."""
    assert _route(providers, "GET", "/v1/models", anthropic=True).provider.name == "anthropic"
    assert _route(providers, "GET", "/v1/models").provider.name == "openai"
    assert _route(providers, "POST", "/v1/chat/completions", anthropic=True).provider.name == "openai"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/nowhere", "/openai/"),
        ("/", "/-/"),
        ("/locla/v1/chat/completions", "/local/"),
        ("/nowhere/v1beta/models/g:generateContent", "/gemini/"),
        ("/nowhere/model/x/converse", "/aws-bedrock/"),
        ("/v1/nowhere/model/x/converse", "/aws-bedrock/"),
        ("/nowhere/api/chat", "/ollama/"),
        ("/api/v1/chat/completions", "/openrouter/"),
        ("*", "/openai/"),
    ],
)
def test_a_path_of_nobody_names_the_mounts(providers, target, said):
    """One that is mounted nowhere goes to nobody, though it ends as an API's does."""
    with pytest.raises(ExchangeError) as caught:
        _route(providers, "POST", target)
    assert (caught.value.status, caught.value.code) == (404, "unknown_path")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("target", "variable"),
    [
        ("/openai/deployments/d/chat/completions", "AZURE_OPENAI_ENDPOINT"),
        ("/openai/deployments/gpt-4o/chat/completions", "AZURE_OPENAI_ENDPOINT"),
        ("/model/x/converse", "AWS_REGION"),
        ("/v1/projects/q/locations/l/publishers/google/models/g:generateContent", "GOOGLE_CLOUD_PROJECT"),
    ],
)
def test_a_path_of_who_is_not_set_up_says_how_to(target, variable):
    """A provider that is nowhere by itself is named, with the variable and the table that make it known."""
    with pytest.raises(ExchangeError) as caught:
        _route(_built(environ={}), "POST", target)
    assert caught.value.code == "unknown_provider"
    assert variable in caught.value.message
    assert "[providers." in caught.value.message


# Which provider a model is of.


@pytest.mark.parametrize(
    ("model", "provider", "renamed"),
    [
        ("gpt-5", "openai", None),
        ("local/big", "local", "big"),
        ("openai/gpt-5", "openai", "gpt-5"),
        ("groq/openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b"),
        ("bedrock/us.amazon.nova", "aws-bedrock", "us.amazon.nova"),
        ("demo/chat", "demo", "chat"),
        ("meta/llama", "openai", None),
        ("claude-opus-5", "anthropic", None),
        ("gemini-3-flash", "gemini", None),
        ("gpt-oss-120b", "openai", None),
        (None, "openai", None),
        ("", "openai", None),
    ],
)
def test_a_models_name_names_the_provider_on_a_bare_path(providers, model, provider, renamed):
    """`prefix/model` is sent to its provider as `model`; a maker's own name goes there as it is."""
    route = _route(providers, "POST", "/v1/chat/completions", model)
    assert (route.provider.name, route.rename, route.model) == (provider, renamed, model)
    assert route.addressed == (provider == "openai")


@pytest.mark.parametrize(
    ("target", "model", "provider"),
    [
        ("/v1/messages", "gpt-5", "openai"),
        ("/v1/messages", "o3-mini", "openai"),
        ("/v1/responses", "claude-opus-5", "anthropic"),
        ("/api/chat", "claude-opus-5", "anthropic"),
        ("/api/chat", "gemini-3-flash:cloud", "ollama"),
        ("/api/chat", "gpt-oss:20b", "ollama"),
        ("/v1beta/models/gpt-5:generateContent", None, "openai"),
        ("/model/claude-opus-5/converse", None, "anthropic"),
        ("/model/anthropic.claude-v2%3A1/converse", None, "aws-bedrock"),
        ("/openai/deployments/gpt-5/chat/completions", "gpt-5", "azure-openai"),
        ("/openai/deployments/claude-opus-5/chat/completions", None, "azure-openai"),
        ("/v1/files", "claude-opus-5", "openai"),
    ],
)
def test_a_makers_own_name_leads_there(providers, target, model, provider):
    """On every API's path, but for names that are the path's own provider's all the same."""
    assert _route(providers, "POST", target, model).provider.name == provider


@pytest.mark.parametrize(
    ("config", "target", "model", "provider"),
    [
        ("[providers.openai]\nbase_url = 'http://h/v1'", "/v1/chat/completions", "claude-opus-5", "openai"),
        ("[providers.openai]\nbase_url = 'http://h/v1'", "/v1/messages", "gpt-5", "openai"),
        ("[providers.openai]\nbase_url = 'http://h/v1'", "/v1/chat/completions", "anthropic/claude", "anthropic"),
        ("[providers.anthropic]\nbase_url = 'http://h'", "/v1/messages", "gpt-5", "anthropic"),
        ("[providers.anthropic]\nbase_url = 'http://h'", "/v1/chat/completions", "claude-opus-5", "anthropic"),
        ("[providers.openai]\napi_key = 'k'", "/v1/chat/completions", "claude-opus-5", "anthropic"),
    ],
)
def test_whose_address_was_set_knows_its_own_models(config, target, model, provider):
    """A path's provider at an address of one's own is asked for any name, but for one with a prefix."""
    assert _route(_built(config), "POST", target, model).provider.name == provider


NESTED = """
[providers.a]
base_url = 'http://h'
prefix = 'x/'
[providers.b]
base_url = 'http://h'
prefix = 'x/y/'
"""


@pytest.mark.parametrize(
    ("config", "model", "provider", "renamed"),
    [
        (NESTED, "x/y/z", "b", "z"),
        (NESTED, "x/z", "a", "z"),
        ("[providers.a]\nbase_url='http://h'\nprefix='openai/'", "openai/gpt-5", "a", "gpt-5"),
        ("[providers.a]\nbase_url='http://h'\nprefix='gpt-'", "gpt-5", "a", "5"),
        ("[providers.groq]\nprefix='fast/'", "fast/x", "groq", "x"),
        ("[providers.groq]\nprefix='fast/'", "groq/x", "openai", None),
    ],
)  # fmt: skip
def test_the_longest_prefix_wins_and_ones_own_before_a_built_in(config, model, provider, renamed):
    """A prefix of one's own takes the place of a built-in one that is the same."""
    route = _route(_built(config), "POST", "/v1/chat/completions", model)
    assert (route.provider.name, route.rename) == (provider, renamed)


@pytest.mark.parametrize(
    ("target", "provider", "upstream"),
    [
        ("/v1beta/models/gemini/g:generateContent", "gemini", "/v1beta/models/g:generateContent"),
        ("/v1alpha/models/gemini%2Fg:countTokens", "gemini", "/v1alpha/models/g:countTokens"),
        ("/v1beta/models/googlish/g:generateContent?alt=sse", "googlish", "/v1beta/models/g:generateContent?alt=sse"),
        ("/v1beta/models/vertex/g:generateContent", "vertex", f"{GOOGLES}/models/g:generateContent"),
        ("/v1/projects/q/publishers/gemini/models/g:generateContent", "gemini", "/v1beta/models/g:generateContent"),
        ("/model/aws-bedrock%2Fus.nova%3A0/converse", "aws-bedrock", "/model/us.nova%3A0/converse"),
        ("/model/bedrock%2fus.nova:0/converse-stream", "aws-bedrock", "/model/us.nova%3A0/converse-stream"),
        ("/openai/deployments/azure/d/embeddings?a=1", "azure-openai", "/openai/deployments/d/embeddings?a=1"),
        ("/openai/deployments/local/big/chat/completions?api-version=1", "local", "/v1/chat/completions"),
        ("/openai/deployments/openai/gpt-5/embeddings?api-version=1", "openai", "/v1/embeddings"),
    ],
)  # fmt: skip
def test_a_prefix_in_a_path_is_taken_out_of_it(providers, target, provider, upstream):
    """The path that is sent names the model as the provider knows it; where it names none, the body does."""
    route = _route(providers, "POST", target)
    assert (route.provider.name, route.target, route.translated_to) == (provider, upstream, None)
    assert route.by_path == (provider not in {"local", "openai"})


@pytest.mark.parametrize(
    ("target", "provider", "sent"),
    [
        ("/v1beta/models/demo/chat:generateContent", "demo", "openai-chat"),
        ("/v1beta/models/anthropic/claude:streamGenerateContent", "anthropic", "anthropic-messages"),
        ("/model/demo%2Fchat/converse", "demo", "openai-chat"),
        ("/openai/deployments/demo/chat/chat/completions", "demo", None),
        ("/openai/deployments/anthropic/claude/chat/completions", "anthropic", "anthropic-messages"),
        ("/v1beta/openai/chat/completions", "gemini", None),
    ],
)
def test_a_path_with_a_model_of_anothers_is_translated(providers, target, provider, sent):
    """Where the provider does not speak the path's dialect, and only there."""
    route = _route(providers, "POST", target)
    assert (route.provider.name, route.translated_to and route.translated_to.name) == (provider, sent)
    assert route.stream == ("stream" in target)


def test_a_mounted_path_never_looks_at_the_model(providers):
    """A provider whose models have slashes in their names gets them unchanged."""
    for target in ("/local/v1/chat/completions", "/plain/v1/messages", "/vertex/v1/chat/completions"):
        route = _route(providers, "POST", target, "openai/gpt-5")
        assert (route.provider.name, route.rename, route.addressed) == (target.split("/")[1], None, True)


# What is spoken there.


@pytest.mark.parametrize(
    ("target", "fields", "spoken", "sent", "reply"),
    [
        ("/v1/chat/completions", {"messages"}, "openai-chat", None, None),
        ("/v1/chat/completions", {"input"}, "openai-responses", "openai-responses", "openai-chat"),
        ("/v1/chat/completions", {"contents"}, "gemini", "openai-chat", "openai-chat"),
        ("/v1/chat/completions", {"messages", "input"}, "openai-chat", None, None),
        ("/v1/responses", {"messages"}, "openai-chat", "openai-chat", "openai-responses"),
        ("/v1/responses", {"messages", "system"}, "anthropic-messages", "openai-chat", "openai-responses"),
        ("/v1/responses", {"input"}, "openai-responses", None, None),
        ("/v1/responses", set(), "openai-responses", None, None),
        ("/v1/messages", {"messages", "system"}, "anthropic-messages", None, None),
        ("/v1/messages", {"messages", "response_format"}, "openai-chat", "anthropic-messages", "anthropic-messages"),
        ("/v1/messages", {"input"}, "openai-responses", "anthropic-messages", "anthropic-messages"),
        ("/v1/embeddings", {"input"}, "openai-chat", None, None),
        ("/local/v1/chat/completions", {"input"}, "openai-responses", "openai-chat", "openai-chat"),
    ],
)
def test_a_body_of_another_dialect_is_known_by_its_shape(providers, target, fields, spoken, sent, reply):
    """It is read as what it is, sent as the provider has it, and answered as the path answers."""
    route = _route(providers, "POST", target, fields=fields)
    assert (route.client_dialect, route.translated_to and route.translated_to.name, route.response_dialect) == (
        spoken,
        sent,
        reply,
    )


@pytest.mark.parametrize(
    ("target", "model", "said"),
    [
        ("/anthropic/v1/embeddings", None, "anthropic-messages, not openai-chat"),
        ("/v1/embeddings", "anthropic/x", "$.providers.anthropic.dialect"),
        ("/api/embed", "anthropic/x", "anthropic-messages, not ollama"),
        ("/v1beta/models/demo/chat:countTokens", None, "not gemini"),
        ("/v1beta/models/anthropic/claude:embedContent", None, "anthropic-messages, not gemini"),
    ],
)
def test_what_cannot_be_translated_names_the_provider(providers, target, model, said):
    """And what it speaks, and the setting."""
    with pytest.raises(ExchangeError) as caught:
        _route(providers, "POST", target, model)
    assert (caught.value.status, caught.value.code) == (400, "dialect_mismatch")
    assert said in caught.value.message


CLAUDE = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x:rawPredict"


@pytest.mark.parametrize(
    ("target", "sent", "operation"),
    [
        ("/local/v2/chat", "/v1/v2/chat", "chat"),
        ("/plain/v2/embed", "/v2/embed", "embeddings"),
        ("/plain/model/x/invoke", "/model/x/invoke", "chat"),
        ("/plain/model/x/count-tokens", "/model/x/count-tokens", "count_tokens"),
        (f"/plain{CLAUDE}", CLAUDE, "chat"),
        (f"/googlish{CLAUDE}", CLAUDE, "chat"),
        ("/plain/v1beta/models/g:embedContent", "/v1beta/models/g:embedContent", "embeddings"),
        ("/plain/v1/responses/compact", "/v1/responses/compact", "compact"),
        ("/perplexity/v1/responses/compact", "/v1/responses/compact", "compact"),
        ("/googlish/v1/audio/transcriptions", "/v1/audio/transcriptions", "transcription"),
    ],
)
def test_below_a_mount_the_provider_decides(providers, target, sent, operation):
    """What is read for the trace alone is relayed to a provider of any dialect."""
    route = _route(providers, "POST", target, "m")
    assert (route.target, route.operation, route.translated_to) == (sent, operation, None)


def test_a_bare_path_of_coheres_is_its_own(providers):
    """Whoever claims the model's name; a prefix leads to a provider that cannot be sent the request."""
    assert _route(providers, "POST", "/v2/chat", "gpt-5").provider.name == "cohere"
    with pytest.raises(ExchangeError, match="'local' speaks openai-chat, not cohere"):
        _route(providers, "POST", "/v2/chat", "local/m")


@pytest.mark.parametrize("model", ["local/", "openai/", "bedrock/"])
def test_a_prefix_alone_is_no_model(providers, model):
    """It is said so, in the body and in a path."""
    for target, named in (("/v1/chat/completions", model), (f"/v1beta/models/{model}%2F:generateContent", None)):
        with pytest.raises(ExchangeError) as caught:
            _route(providers, "POST", target.replace("/%2F", "%2F"), named)
        assert caught.value.code == "model_not_found"
        assert f"{model}NAME" in caught.value.message


ENDPOINTS = {
    "openai-chat": (
        "/v1/chat/completions",
        "/v1/models",
        "/v1beta/openai/chat/completions",
        "/groq/v1/models",
        "/plain/v1/x",
    ),
    "anthropic-messages": ("/v1/messages", "/plain/v1/messages", "/anthropic/v1/files", "/v1/messages/batches"),
    "gemini": ("/v1beta/models/g:generateContent", "/v1beta/files", "/plain/v1beta/models/g:generateContent"),
    "ollama": ("/api/chat", "/api/tags", "/ollama/api/tags", "/plain/api/chat"),
    "bedrock-converse": (
        "/model/a:0/converse",
        "/model/x/invoke",
        "/plain/model/x/converse",
        "/aws-bedrock/model/x/invoke",
    ),
    "azure-openai": ("/openai/deployments/d/chat/completions", "/plain/openai/deployments/d/embeddings"),
}


@pytest.mark.parametrize(("endpoint", "target"), [(name, path) for name, paths in ENDPOINTS.items() for path in paths])
def test_a_path_belongs_to_an_endpoint(providers, endpoint, target):
    """By its own API, wherever it is mounted."""
    assert parse_path("POST", target, (), providers).endpoint.name == endpoint


@pytest.mark.parametrize(
    ("target", "spoken", "operation"),
    [
        ("/v1/chat/completions", "openai-chat", "chat"),
        ("/v1/completions", "openai-chat", "text_completion"),
        ("/v1/embeddings", "openai-chat", "embeddings"),
        ("/v1/responses", "openai-responses", "chat"),
        ("/plain/v1/messages", "anthropic-messages", "chat"),
        ("/v1beta/models/g:generateContent", "gemini", "generate_content"),
        ("/v1beta/models/g:countTokens", "gemini", "count_tokens"),
        ("/v1beta/models/g:batchEmbedContents", "gemini", "embeddings"),
        ("/v1beta/models/g:predict", None, "relay"),
        ("/v1/responses/compact", "openai-responses", "compact"),
        ("/v1/responses/input_tokens", "openai-responses", "count_tokens"),
        ("/v1/messages/count_tokens", "anthropic-messages", "count_tokens"),
        ("/api/generate", "ollama", "text_completion"),
        ("/api/embed", "ollama", "embeddings"),
        ("/model/x/converse", "bedrock-converse", "chat"),
        ("/model/x/invoke", "bedrock-converse", "chat"),
        ("/model/amazon.titan-embed-text-v2:0/invoke", "bedrock-converse", "embeddings"),
        ("/v1/models", None, "relay"),
    ],
)
def test_dialects_and_operations_are_known_by_path(providers, target, spoken, operation):
    """What is read for the trace, and what it is called there."""
    route = _route(providers, "POST", target)
    assert (route.client_dialect, route.operation) == (spoken, operation)
    assert _route(providers, "GET", "/v1/chat/completions").operation == "relay"
