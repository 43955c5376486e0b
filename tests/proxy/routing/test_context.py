"""The configuration resolved for routing, and the request's context."""

import pytest

from gateway.config.model import parse
from gateway.dialects.wire.edit import Peek
from gateway.errors import ConfigError
from gateway.proxy.routing.context import RequestContext, RuntimeConfig, build_runtime
from gateway.proxy.routing.request_options import Options
from gateway.proxy.routing.routes import parse_path

KEY = "sk-test-0123456789abcdef"
DEMO_URL = "http://127.0.0.1:4567"


def built(toml: str, environ: dict[str, str] | None = None, **further: object) -> RuntimeConfig:
    """Return the runtime configuration of a gateway.toml."""
    return build_runtime(parse(toml, environ or {}, "test.toml"), environ or {}, **further)  # type: ignore[arg-type]


def requested(path: str, model: str | None = None, option: str | None = None) -> RequestContext:
    """Return the context of a POST to a path, with a model in its body and one as an option."""
    runtime = built("")
    return RequestContext(
        method="POST",
        path=parse_path("POST", path, (), runtime.providers),
        headers=((b"Authorization", b"Bearer " + KEY.encode()),),
        body=b'{"input": "private words"}',
        peeked=Peek(model=model, stream=False),
        options=Options(model=option),
        runtime=runtime,
    )


def test_configured_providers_join_the_catalogs():
    """The runtime configuration has the catalog's providers, the configured ones and the demo provider."""
    runtime = built('[providers.one]\nbase_url = "http://one.test/v1"', demo=DEMO_URL)
    assert {"openai", "anthropic", "one", "demo"} <= set(runtime.providers)
    assert runtime.providers["one"].origin.host == "one.test"
    assert (runtime.providers["demo"].origin.host, runtime.providers["demo"].origin.port) == ("127.0.0.1", 4567)


def test_keys_of_the_environment_are_resolved():
    """A provider's key comes from the environment that the configuration is built with, and from no other."""
    assert built("", {"OPENAI_API_KEY": KEY}).providers["openai"].environment_key == KEY
    assert built("").providers["openai"].environment_key is None


def test_an_aliass_candidates_are_resolved():
    """An alias has its candidates with the providers and the named keys they refer to."""
    runtime = built(
        f"""
        api_keys.mine = "{KEY}"
        [aliases.smart]
        order = "fastest"
        candidates = ["openai/gpt-5", {{ model = "anthropic/claude", api_key_name = "mine" }}]
        """
    )
    first, second = runtime.aliases["smart"].candidates
    assert runtime.aliases["smart"].order == "fastest"
    assert (first.provider.name, first.model) == ("openai", "gpt-5")
    assert (second.provider.name, second.provider.key) == ("anthropic", KEY)
    assert runtime.keys == {"mine": KEY}


def test_the_capture_policy_is_the_configurations():
    """The capture policy is built from `[capture]`."""
    assert built("").capture_policy.reads
    assert not built('[capture]\nstore = "off"').capture_policy.reads
    assert (
        built("[redaction]\nbuiltin = ['emails']").capture_policy.redaction.text("to eve@example.com")
        != "to eve@example.com"
    )


@pytest.mark.parametrize(
    ("toml", "path"),
    [
        pytest.param('api_keys.mine = ""', r"\$\.api_keys\.mine is empty", id="an empty key"),
        pytest.param('api_keys.mine = "a\\nb"', r"\$\.api_keys\.mine", id="a key with a line break"),
        pytest.param('aliases.smart = ["nowhere/m"]', r"\$\.aliases\.smart", id="an alias of an unknown provider"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(toml: str, path: str):
    """The error has the path of the setting."""
    with pytest.raises(ConfigError, match=path):
        built(toml)


def test_a_variable_with_our_own_url_moves_no_provider():
    """`OLLAMA_HOST` is for clients too: with the gateway's own URL in it, requests would go round in a loop."""
    environ = {"OLLAMA_HOST": "http://gateway.test:8080"}
    assert built("", environ).providers["ollama"].origin.host == "gateway.test"
    assert built("", environ, ours=["http://gateway.test:8080"]).providers["ollama"].origin.host == "127.0.0.1"


def test_reprs_have_no_secrets():
    """The repr of a context has no header, body or key, and that of a runtime configuration no key."""
    runtime = built(f'api_keys.mine = "{KEY}"', {"OPENAI_API_KEY": KEY})
    assert KEY not in repr(runtime)
    shown = repr(requested("/v1/chat/completions?key=hidden", model="gpt-5"))
    assert shown == "<RequestContext POST /v1/chat/completions model='gpt-5'>"


@pytest.mark.parametrize(
    ("path", "body", "option", "named", "model"),
    [
        pytest.param("/v1/chat/completions", "a", None, "a", "a", id="the body"),
        pytest.param("/v1beta/models/b:generateContent", None, None, "b", "b", id="the path"),
        pytest.param("/v1/chat/completions", "a", "c", "a", "c", id="an option before the body"),
        pytest.param("/v1beta/models/b:generateContent", None, "c", "b", "c", id="an option before the path"),
        pytest.param("/v1/chat/completions", None, None, None, None, id="none"),
    ],
)
def test_an_options_model_has_precedence(
    path: str, body: str | None, option: str | None, named: str | None, model: str | None
):
    """The requested model is the option's, else that of the path or the body; `named_model` leaves the option out."""
    context = requested(path, body, option)
    assert (context.named_model, context.model) == (named, model)
