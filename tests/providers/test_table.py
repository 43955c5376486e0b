"""The table of providers, built from catalog, environment and configuration, and the errors of invalid ones."""

import pytest

from gateway.config.model import Config, parse
from gateway.errors import ConfigError
from gateway.providers.http.client import Origin
from gateway.providers.table import build

SECRET = "s3cret-4711"


def provider_of(name, toml="", environ=None, ours=()):
    """Return one provider."""
    return build(parse(toml, {}, "t"), environ or {}, ours).get(name)


def refusal(toml="", environ=None):
    """Return why there is no table."""
    with pytest.raises(ConfigError) as caught:
        build(parse(toml, {}, "t"), environ or {})
    return str(caught.value)


# Where a provider is.

OPENAIS = {"openai-chat": "/v1", "openai-responses": "/v1"}
PROJECT = "/v1/projects/p/locations/eu/publishers/google"


@pytest.mark.parametrize(
    ("name", "base_url", "paths"),
    [
        ("openai", "http://h", OPENAIS),
        ("openai", "http://h/v1/", OPENAIS),
        ("openai", "http://h/x/v1", dict.fromkeys(OPENAIS, "/x/v1")),
        ("openai", "http://h/api/v3", dict.fromkeys(OPENAIS, "/api/v3")),
        ("openai", "http://h/x", dict.fromkeys(OPENAIS, "/x/v1")),
        ("groq", "http://h", dict.fromkeys(OPENAIS, "/openai/v1")),
        ("groq", "http://h/openai/v1", dict.fromkeys(OPENAIS, "/openai/v1")),
        ("groq", "http://h/v1", dict.fromkeys(OPENAIS, "/v1")),
        ("gemini", "http://h", {"gemini": "/v1beta", "openai-chat": "/v1beta/openai"}),
        ("gemini", "http://h/v1beta", {"gemini": "/v1beta", "openai-chat": "/v1beta/openai"}),
        ("gemini", "http://h/v1beta/openai/", {"gemini": "/v1beta", "openai-chat": "/v1beta/openai"}),
        ("deepseek", "http://h", {"openai-chat": "", "openai-responses": "", "anthropic-messages": "/anthropic/v1"}),
        (
            "deepseek",
            "http://h/anthropic",
            {"openai-chat": "", "openai-responses": "", "anthropic-messages": "/anthropic/v1"},
        ),
        ("groq", "http://h/x/openai", dict.fromkeys(OPENAIS, "/x/openai/v1")),
        ("cohere", "http://h", {"openai-chat": "/compatibility/v1", "cohere": ""}),
        ("cohere", "http://h/compatibility", {"openai-chat": "/compatibility/v1", "cohere": ""}),
        ("cohere", "http://h/x/compatibility/v1", {"openai-chat": "/x/compatibility/v1", "cohere": "/x"}),
        ("perplexity", "http://h", {"openai-chat": ""}),
        ("ollama", "http://h/v1", {"ollama": "", **OPENAIS, "anthropic-messages": "/v1"}),
        ("ollama", "http://h/x", {"ollama": "/x", **dict.fromkeys((*OPENAIS, "anthropic-messages"), "/x/v1")}),
        ("azure-openai", "https://mine.openai.azure.com", dict.fromkeys(OPENAIS, "/openai/v1")),
        ("aws-bedrock", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", {"bedrock-converse": ""}),
        ("vertex", f"https://h{PROJECT}", {"gemini": PROJECT}),
    ],
)
def test_a_configured_base_url_locates_each_dialect(name, base_url, paths):
    """A base URL with a version is the whole path, unless it ends as the provider's own one does."""
    assert provider_of(name, f"[providers.{name}]\nbase_url = '{base_url}'").paths == paths


def test_vertex_needs_its_project():
    """Vertex is located by the environment, on a configured host, too; a URL without a project is an error."""
    assert provider_of("vertex") is None
    environ = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "eu"}
    assert provider_of("vertex", environ=environ).paths["gemini"] == PROJECT
    moved = provider_of("vertex", "[providers.vertex]\nbase_url = 'https://proxy/x'", environ)
    assert (moved.paths["gemini"], moved.origin.host) == (f"/x{PROJECT}", "proxy")
    reason = refusal("[providers.vertex]\nbase_url = 'https://proxy'")
    assert "$.providers.vertex.base_url" in reason
    assert "GOOGLE_CLOUD_PROJECT" in reason


@pytest.mark.parametrize("name", ["azure-openai", "aws-bedrock", "vertex"])
def test_a_provider_without_a_url_is_absent(name):
    """A provider is absent until the environment or the configuration gives its URL."""
    assert name not in build(Config(), {})


def test_configured_dialects_are_below_the_base_url():
    """Configured dialects have their usual paths, in the configured order, also those not built in."""
    toml = "[providers.openai]\nbase_url = 'http://h'\ndialect = ['anthropic-messages', 'openai-chat', 'gemini']"
    assert list(provider_of("openai", toml).paths.items()) == [
        ("anthropic-messages", "/v1"),
        ("openai-chat", "/v1"),
        ("gemini", "/v1beta"),
    ]


def test_base_urls_of_clients_are_ignored():
    """Variables that point clients to the gateway are set in the same shell; they locate no provider."""
    clients = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GROQ_BASE_URL")
    environ = dict.fromkeys(clients, "http://127.0.0.1:4000/v1")
    plain = build(Config(), {})
    assert build(Config(), environ) == plain
    assert (
        provider_of("together", environ={"TOGETHER_BASE_URL": "http://127.0.0.1:4000"}, ours=["http://127.0.0.1:4000"])
        == (plain["together"])
    )
    assert provider_of("together", environ={"TOGETHER_BASE_URL": "http://h:1"}).url == "http://h:1"


@pytest.mark.parametrize(
    ("toml", "listed"),
    [
        ("", False),
        ("[providers.ollama]", True),
        ("[providers.ollama]\nprefix = 'o/'", True),
        ("[providers.other]\nbase_url = 'http://h'", False),
    ],
)
def test_a_configured_local_server_is_set_up(toml, listed):
    """A local server in the configuration needs no key."""
    assert provider_of("ollama", toml).set_up == listed


# What cannot be.


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{SECRET}@x",
        f"http://user:{SECRET}@x/v1",
        f"http://user:{SECRET}/x@h",
        f"http://:{SECRET}/x",
        f"http://u\u2100er:{SECRET}@x",
        f"http://x?key={SECRET}",
        f"http://x#{SECRET}",
        f"{SECRET}",
        f"user:{SECRET}@x",
        f"http://[{SECRET}",
        f"http://x:{SECRET}",
        f"http://{'x' * 64}.\u00fc/{SECRET}",
        "http://x:99999",
        "http://",
        "",
    ],
)
@pytest.mark.parametrize("name", ["openai", "mine"])
def test_an_invalid_url_is_not_repeated(url, name):
    """The error has the setting, and scheme and host at most, since an invalid URL may have a password."""
    reason = refusal(f'[providers.{name}]\nbase_url = "{url}"')
    assert f"$.providers.{name}.base_url: " in reason
    assert SECRET not in reason
    with pytest.raises(ValueError, match="URL") as caught:
        Origin.from_url(url)
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OLLAMA_HOST", f"http://user:{SECRET}/x"),
        ("TOGETHER_BASE_URL", f"ftp://user:{SECRET}@x"),
        ("TOGETHER_BASE_URL", f"http://user:{SECRET}/x"),
        ("AWS_ENDPOINT_URL", f"nonsense {SECRET}"),
        ("AZURE_OPENAI_ENDPOINT", f"mine.openai.azure.com/{SECRET}"),
    ],
)
def test_an_invalid_variable_is_named(variable, value):
    """The error names the variable without its value."""
    reason = refusal(environ={variable: value, "AWS_REGION": "us-east-1"})
    assert variable in reason
    assert SECRET not in reason


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("X-A", "caf\u00e9 \u20ac", "$.providers.a.headers.X-A: "),
        ("X-A", "one\ntwo", "$.providers.a.headers.X-A: "),
        ("X-A", "nul\0", "$.providers.a.headers.X-A: "),
        ("X A", "x", "$.providers.a.headers: 'X A'"),
        ("X-\u00fc", "x", "$.providers.a.headers: "),
        ("", "x", "$.providers.a.headers: ''"),
        ("Content-Length", "3", "$.providers.a.headers.Content-Length: "),
        ("transfer-encoding", "chunked", "$.providers.a.headers.transfer-encoding: "),
    ],
)
def test_a_header_that_cannot_be_sent_is_named(header, value, reason):
    """The error names the header without its value."""
    text = value.encode("unicode_escape").decode().replace("\\x", "\\u00")
    name = header.encode("unicode_escape").decode().replace("\\x", "\\u00")
    got = refusal(f'[providers.a]\nbase_url = "http://h"\nheaders = {{"{name}" = "{text}"}}')
    assert reason in got
    assert value == "x" or value not in got


@pytest.mark.parametrize("name", ["openai", "mine"])
@pytest.mark.parametrize(
    ("key", "expected"),
    [("  k1 \n", "k1"), ("\tk1", "k1"), ("", None), (" \n", None), ("k\u00e9", "k\u00e9"), ("k 1", "k 1")],
)
def test_white_space_around_a_key_is_removed(name, key, expected):
    """A key that was read from a file may end with a line end."""
    text = key.encode("unicode_escape").decode().replace("\\x", "\\u00")
    toml = f'[providers.{name}]\nbase_url = "http://h"\napi_key = "{text}"\nheaders = {{X-A = " x\t"}}'
    provider = provider_of(name, toml)
    assert provider.key == expected
    assert provider.headers == (("X-A", "x"),)


def test_the_first_variable_with_a_key_counts():
    """A variable with white space only has no key."""
    assert provider_of("gemini", environ={"GEMINI_API_KEY": " \n", "GOOGLE_API_KEY": " k\n"}).environment_key == "k"
    assert provider_of("openai", environ={"OPENAI_API_KEY": "  "}).environment_key is None


@pytest.mark.parametrize("key", [f"{SECRET}\u20ac", f"{SECRET}\nx", f"\x00{SECRET}"])
def test_a_key_that_cannot_be_sent_is_an_error(key):
    """The error names the setting or the variable without the key."""
    text = key.encode("unicode_escape").decode().replace("\\x", "\\u00")
    reason = [
        (refusal(f'[providers.openai]\napi_key = "{text}"'), "$.providers.openai.api_key"),
        (refusal(f'[providers.a]\nbase_url = "http://h"\napi_key = "{text}"'), "$.providers.a.api_key"),
        (refusal(environ={"OPENAI_API_KEY": key}), "OPENAI_API_KEY"),
    ]
    for message, place in reason:
        assert place in message
        assert SECRET not in message


@pytest.mark.parametrize("name", ["demo", "v1", "v1beta", "api", "model", "models", "chat", "messages", "responses"])
def test_a_name_that_begins_an_apis_path_is_reserved(name):
    """A provider's path begins with its name, so that the first segment of an API's path is reserved."""
    assert f"$.providers.{name}: " in refusal(f"[providers.{name}]\nbase_url = 'http://h'")
