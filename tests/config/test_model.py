"""The settings of `gateway.toml`: their defaults, and errors that name the path and the remedy."""

import tomllib

import pytest

from gateway.config.model import Config, parse
from gateway.errors import ConfigError
from gateway.providers.table import build
from gateway.proxy.routing.context import build_runtime
from tests.support.paths import ROOT


def test_no_file_is_needed():
    """Without a file all settings have their defaults."""
    config = parse("", {}, "gateway.toml")
    assert config == Config()
    assert config.default_timeout == 600.0
    assert config.retry.max_tries == 4


def test_a_file_changes_its_settings_only():
    """Settings in the file are changed, in tables too, and all others keep their defaults."""
    config = parse(
        """
        default_timeout = 30.0
        [retry]
        max_tries = 2
        [providers.local]
        base_url = "http://127.0.0.1:9000/v1"
        dialect = "openai-chat"
        api_key = "${env:LOCAL_KEY:-}"
        prefix = "local/"
        """,
        {},
        "gateway.toml",
    )
    assert (config.default_timeout, config.retry.max_tries, config.timeouts.connect) == (30.0, 2, 10.0)
    local = build(config, {})["local"]
    assert (local.origin.port, local.base_path, local.prefixes, local.key) == (9000, "/v1", ("local/",), None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("default_timeout = 'x'", "$.default_timeout: Expected `float`, got `str`"),
        ("[retry]\nmax_tires = 1", "did you mean `max_tries`?"),
        ("[providers.a]\nbase_ulr = 'http://x'", "did you mean `base_url`?"),
        ("default_timeout = ", "not valid TOML"),
        ("default_timeout = 0", "$.default_timeout must be more than 0"),
        (
            "[providers.a]\napi_key = '${env:NO_SUCH}'",
            "$.providers.a.api_key: the environment variable NO_SUCH",
        ),
        ("[providers.'A b']\nbase_url='http://x'", "lower-case"),
    ],
)
def test_an_error_names_file_and_path(text, error):
    """Every error names the file, the path in it, and the remedy."""
    with pytest.raises(ConfigError) as caught:
        parse(text, {}, "gateway.toml")
    assert str(caught.value).startswith("gateway.toml: ")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[providers.a]\nprefix = 'a/'", "$.providers.a: base_url is missing"),
        ("[providers.a]\nbase_url = 'ftp://x'", "$.providers.a.base_url"),
        ("[providers.a]\nbase_url = 'http://u:planted@x'", "$.providers.a.base_url"),
        (
            "[providers.a]\nbase_url = 'http://x'\ndialect = 'planted'",
            "$.providers.a.dialect: not a value that this can have; there are openai-chat, ",
        ),
        (
            "[providers.openai]\ndialect = ['openai-chat', 'planted']",
            "$.providers.openai.dialect[1]: not a value that this can have; there are openai-chat, ",
        ),
        ("[providers.demo]\nbase_url = 'http://x'", "$.providers.demo"),
    ],
)
def test_a_provider_that_cannot_work_is_refused(text, error):
    """A provider without a valid URL or dialect is an error, which repeats no secret of its URL."""
    with pytest.raises(ConfigError) as caught:
        build(parse(text, {}, "gateway.toml"), {})
    assert error in str(caught.value)
    assert "planted" not in str(caught.value)


def test_variables_come_from_the_environment_or_their_default():
    """`${env:NAME:-default}` is replaced anywhere in a string."""
    text = "[providers.a]\nbase_url = 'http://${env:HOST:-127.0.0.1}:${env:PORT}/v1'"
    provider = build(parse(text, {"PORT": "81"}, "t"), {})["a"]
    assert (provider.origin.host, provider.origin.port) == ("127.0.0.1", 81)


def test_the_readmes_example_is_valid():
    """The README's example has every table, and is a configuration that works."""
    text = (ROOT / "README.md").read_text()
    example = text.partition("## Configure")[2].partition("```toml")[2].partition("```")[0]
    config = parse(example, {}, "README.md")
    assert set(build_runtime(config, {}).aliases) == {"smart"}
    assert set(tomllib.loads(example)) == set(Config.__struct_fields__)


def test_no_repr_shows_a_key():
    """Keys, tokens and headers stay out of every repr."""
    text = "[providers.openai]\napi_key = 'planted-1'\nheaders = {x-secret = 'planted-2'}\n[auth]\ntoken = 'planted-3'"
    config = parse(text, {}, "t")
    assert "planted" not in repr(config)
    assert "planted" not in repr(build(config, {"ANTHROPIC_API_KEY": "planted-4"}))
