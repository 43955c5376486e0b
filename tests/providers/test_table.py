"""The table of providers: what the environment and the configuration make of the catalog, and what they cannot."""

import pytest

from gateway.config.model import Config, parse
from gateway.errors import ConfigError
from gateway.providers.http.client import Origin
from gateway.providers.table import build

SECRET = "s3cret-4711"


def made(name, toml="", environ=None, ours=()):
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
        ("perplexity", "http://h", {"openai-chat": ""}),
        ("ollama", "http://h/v1", {"ollama": "", **OPENAIS, "anthropic-messages": "/v1"}),
        ("ollama", "http://h/x", {"ollama": "/x", **dict.fromkeys((*OPENAIS, "anthropic-messages"), "/x/v1")}),
        ("azure-openai", "https://mine.openai.azure.com", dict.fromkeys(OPENAIS, "/openai/v1")),
        ("aws-bedrock", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", {"bedrock-converse": ""}),
        ("vertex", f"https://h{PROJECT}", {"gemini": PROJECT}),
    ],
)
def test_a_base_url_of_ones_own_says_where_each_dialect_is(name, base_url, paths):
    """One with a version says the whole path, unless it ends as the provider's own does."""
    assert made(name, f"[providers.{name}]\nbase_url = '{base_url}'").paths == paths


def test_vertex_is_where_its_project_is():
    """By the environment, with a host of one's own too; a URL without a project says what is missing."""
    assert made("vertex") is None
    environ = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "eu"}
    assert made("vertex", environ=environ).paths["gemini"] == PROJECT
    moved = made("vertex", "[providers.vertex]\nbase_url = 'https://proxy/x'", environ)
    assert (moved.paths["gemini"], moved.origin.host) == (f"/x{PROJECT}", "proxy")
    reason = refusal("[providers.vertex]\nbase_url = 'https://proxy'")
    assert "$.providers.vertex.base_url" in reason
    assert "GOOGLE_CLOUD_PROJECT" in reason


@pytest.mark.parametrize("name", ["azure-openai", "aws-bedrock", "vertex"])
def test_who_is_nowhere_is_not_in_the_table(name):
    """Until the environment or the configuration says where it is."""
    assert name not in build(Config(), {})


def test_a_dialect_that_is_set_is_spoken_below_the_base_url():
    """One that the provider has not by itself too, each at its usual place; the order is the configuration's."""
    toml = "[providers.openai]\nbase_url = 'http://h'\ndialect = ['anthropic-messages', 'openai-chat', 'gemini']"
    assert list(made("openai", toml).paths.items()) == [
        ("anthropic-messages", "/v1"),
        ("openai-chat", "/v1"),
        ("gemini", "/v1beta"),
    ]


def test_what_clients_are_told_is_not_where_a_provider_is():
    """Variables that say where clients go are set in the shell that starts the gateway: they are passed over."""
    clients = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GROQ_BASE_URL")
    environ = dict.fromkeys(clients, "http://127.0.0.1:4000/v1")
    plain = build(Config(), {})
    assert build(Config(), environ) == plain
    assert (
        made("together", environ={"TOGETHER_BASE_URL": "http://127.0.0.1:4000"}, ours=["http://127.0.0.1:4000"])
        == (plain["together"])
    )
    assert made("together", environ={"TOGETHER_BASE_URL": "http://h:1"}).url == "http://h:1"


@pytest.mark.parametrize(
    ("toml", "listed"),
    [
        ("", False),
        ("[providers.ollama]", True),
        ("[providers.ollama]\nprefix = 'o/'", True),
        ("[providers.other]\nbase_url = 'http://h'", False),
    ],
)
def test_a_server_of_ones_own_is_set_up_by_naming_it(toml, listed):
    """It needs no key."""
    assert made("ollama", toml).set_up == listed


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
def test_a_url_that_is_none_is_not_repeated(url, name):
    """The error names the setting, and at most the scheme and the host: what is wrong may be a password."""
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
def test_a_variable_that_names_no_place_is_named(variable, value):
    """And not what it holds."""
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
    """Its name, and not its value."""
    text = value.encode("unicode_escape").decode().replace("\\x", "\\u00")
    name = header.encode("unicode_escape").decode().replace("\\x", "\\u00")
    got = refusal(f'[providers.a]\nbase_url = "http://h"\nheaders = {{"{name}" = "{text}"}}')
    assert reason in got
    assert value == "x" or value not in got


@pytest.mark.parametrize("name", ["openai", "mine"])
@pytest.mark.parametrize(
    ("key", "made_of_it"),
    [("  k1 \n", "k1"), ("\tk1", "k1"), ("", None), (" \n", None), ("k\u00e9", "k\u00e9"), ("k 1", "k 1")],
)
def test_white_space_round_a_key_is_none_of_it(name, key, made_of_it):
    """A key that was read from a file mostly ends with its line."""
    text = key.encode("unicode_escape").decode().replace("\\x", "\\u00")
    toml = f'[providers.{name}]\nbase_url = "http://h"\napi_key = "{text}"\nheaders = {{X-A = " x\t"}}'
    provider = made(name, toml)
    assert provider.key == made_of_it
    assert provider.headers == (("X-A", "x"),)


def test_a_key_of_the_environment_is_the_first_that_is_there():
    """White space is no key."""
    assert made("gemini", environ={"GEMINI_API_KEY": " \n", "GOOGLE_API_KEY": " k\n"}).environment_key == "k"
    assert made("openai", environ={"OPENAI_API_KEY": "  "}).environment_key is None


@pytest.mark.parametrize("key", [f"{SECRET}\u20ac", f"{SECRET}\nx", f"\x00{SECRET}"])
def test_a_key_that_cannot_be_sent_is_named_by_its_place(key):
    """The setting or the variable, and not the key."""
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
def test_a_name_that_is_a_path_of_an_api_is_taken(name):
    """A provider is mounted at its name, where requests to no mount come in."""
    assert f"$.providers.{name}: " in refusal(f"[providers.{name}]\nbase_url = 'http://h'")
