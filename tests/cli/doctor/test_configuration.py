"""A configuration on loopback: no address and no key of the user's is left, and what decides about leaks stays."""

import random

import msgspec
import pytest

from gateway.cli.doctor.canaries import Canaries
from gateway.cli.doctor.configuration import DIALECTS, Addresses, basic, on_loopback
from gateway.config.model import parse
from gateway.proxy.routing.context import build_runtime

REAL = "real-0123456789abcdefghij"
ADDRESSES = Addresses(
    provider="http://127.0.0.1:1", collector="http://127.0.0.1:2", refusing="http://127.0.0.1:3", home="/nowhere"
)
TOML = f"""
[capture]
store = "truncated"
otlp = "metadata"
[redaction]
builtin = ["keys"]
patterns = {{odd = "\\u007f é \\\\d \\"q\\""}}
[retry]
max_tries = 9
[hedge]
percentile = 0.5
[store]
max_age_days = 1
[providers.local]
base_url = "http://10.0.0.1/v1"
api_keys = ["{REAL}1", "{REAL}2"]
headers = {{x-team = "{REAL}3"}}
[aliases.smart]
candidates = ["local/x", {{provider = "local", model = "y", weight = 2.5}}]
order = "weighted"
[api_keys]
team = "{REAL}4"
"""


def moved(toml: str = TOML, **environ: str):
    """Return the configuration on loopback, and its tables as the gateway reads them."""
    config = parse(toml, environ, "gateway.toml")
    canaries = Canaries(random.Random(1))
    built = build_runtime(config, environ)
    loopback = on_loopback(built, environ, canaries, ADDRESSES, token_required=True)
    return loopback, parse(loopback.toml, loopback.environ, "moved.toml"), canaries


def test_no_key_and_no_address_of_the_user_is_left():
    """Every secret is a canary; every provider but doctor's unreachable ones has the scripted provider's address."""
    loopback, config, canaries = moved(OPENAI_API_KEY=REAL, HTTP_PROXY="http://proxy", SSH_AUTH_SOCK="/s")
    assert REAL not in loopback.toml + str(loopback.environ)
    assert {"HTTP_PROXY", "SSH_AUTH_SOCK"}.isdisjoint(loopback.environ)
    values = {each.value for each in canaries.all}
    local = config.providers["local"]
    assert {*local.api_keys, *local.headers.values(), *config.api_keys.values(), config.auth.token} <= values
    assert loopback.environ["OPENAI_API_KEY"] in values
    for name, provider in config.providers.items():
        assert provider.base_url.startswith("http"), name
        assert "127.0.0.1" in provider.base_url, name
    assert set(DIALECTS.values()) <= set(config.providers)
    assert "gw-" not in repr(loopback)


def test_settings_that_decide_about_leaks_stay():
    """Capture and redaction, odd characters of a pattern included, are the user's; waiting and removal are not."""
    loopback, config, _ = moved()
    before = parse(TOML, {}, "gateway.toml")
    assert config.capture == before.capture == loopback.capture
    assert config.redaction == before.redaction
    assert config.aliases["smart"] == before.aliases["smart"]
    assert loopback.aliases == ("smart",)
    assert ("local", "openai-chat") in loopback.providers
    assert (config.retry.max_tries, config.hedge.percentile, config.store.max_age_days) == (2, None, None)
    assert config.auth.required


def test_the_conventions_variable_lowers_what_collectors_may_have():
    """OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=NO_CONTENT is applied to the judged capture."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert moved("", **{name: "NO_CONTENT"})[0].capture.otlp == "metadata"
    assert moved("")[0].capture.otlp == "truncated"


@pytest.mark.parametrize("signal", ["TRACES", "LOGS", "METRICS"])
def test_signals_that_are_off_are_not_expected(signal):
    """OTEL_TRACES_EXPORTER=none and likewise are passed to the gateway, and no export is awaited."""
    loopback, _, _ = moved("", **{f"OTEL_{signal}_EXPORTER": "none"})
    on = {
        "TRACES": loopback.exports_spans,
        "LOGS": loopback.exports_logs,
        "METRICS": loopback.exports_metrics,
    }
    assert [name for name, each in on.items() if not each] == [signal]


def test_a_basic_credential_has_the_password():
    """RFC 7617: user and password in base64."""
    assert basic("pw") == "Basic ZG9jdG9yOnB3"
    assert msgspec.json.encode(basic("pw"))
