"""Nothing is sent to a provider by guess: paths that no API has, OTLP's, and the keys that carry a path on."""

import pytest

from gateway.config.model import parse
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.proxy.headers import forwarded, target
from gateway.proxy.routing.routes import parse_path
from gateway.proxy.routing.unknown_paths import is_stray, is_telemetry, settle
from tests.support.routes import context, parsed, route

TOML = """
[providers.openai]
api_key = "of-the-configuration-0001"
headers = {Authorization = "Bearer of-the-configuration-0002", X-Team = "of-the-configuration-0003"}
[providers.anthropic]
api_key = "of-the-configuration-0004"
"""
ENVIRON = {"GEMINI_API_KEY": "of-the-environment-0001", "GROQ_API_KEY": "of-the-environment-0002", "AWS_REGION": "r"}
PROVIDERS = table.build(parse(TOML, {}, "t"), ENVIRON) | {"demo": table.demo("http://127.0.0.1:9/v1")}
VERSION = (b"anthropic-version", b"2023-06-01")


def bearer(key: str) -> tuple[bytes, bytes]:
    """Return the header that shows a key as a bearer token."""
    return (b"Authorization", b"Bearer " + key.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/traces", "/v1/logs", "/v1/metrics", "/v1/profiles", "/v1/logs/", "//v1/logs", "/v1//logs",
        "/v1/logs//", "/v1/v1/logs", "/v1/%6Cogs", "/V1/Logs", "/logs", "/traces", "/metrics/",
        "/v1/traces/v1/logs", "/v1/logs;x", "/v1/logs%20", "/v1development/profiles", "/v1/v1development/logs",
        "/v1development",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mount", ["", "/openai", "/gemini"])
def test_telemetry_goes_to_no_provider(mount, path):
    """With or without credentials, below a mount as well, and though the client names a provider."""
    if mount and not path.startswith(("/v1", "//v1")):
        return
    assert is_telemetry(path)
    read = parse_path("POST", mount + path, (), PROVIDERS)
    assert is_stray(read)
    for headers in ((), (bearer("sk-proj-0123456789abcdef"),), ((b"x-api-key", b"sk-ant-0123456789"), VERSION)):
        for options in ((), ("provider",)):
            with pytest.raises(ExchangeError, match="Telemetry is sent to no provider") as caught:
                settle(read, "POST", headers, options, PROVIDERS)
            assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/newest"), ("GET", "/v1"), ("GET", "/v1/.env"), ("GET", "/.env"), ("GET", "/wp-login.php"),
        ("POST", "/wp-login.php"), ("GET", "/favicon.ico"), ("GET", "/robots.txt"), ("GET", "/inference-profiles"),
        ("GET", "/inference-profiles?type=SYSTEM_DEFINED"), ("GET", "/api/.env"), ("POST", "/api/login"),
        ("GET", "/v1beta/.env"), ("GET", "/v1beta"), ("GET", "/v1/organizations/me"),
        ("POST", "/v1/x/chat/completions"),
        ("POST", "/v1beta/x/models/g:generateContent"), ("GET", "/.well-known/security.txt"), ("POST", "/rerank"),
        ("GET", "/v1/modelsx"), ("POST", "/v1/rerank"), ("OPTIONS", "/x"),
    ],
)  # fmt: skip
def test_a_path_that_no_api_has_is_refused(method, path):
    """The error names the paths that there are, and the mount below which this one would go through."""
    with pytest.raises(ExchangeError) as caught:
        parsed(method, path, (), PROVIDERS)
    assert (caught.value.status, caught.value.code) == (404, "unknown_path")
    assert "/v1/chat/completions" in caught.value.message
    assert f"/openai{path.partition('?')[0]}" in caught.value.message


@pytest.mark.parametrize(
    ("method", "path", "provider"),
    [
        ("POST", "/v1/audio/speech", "openai"), ("GET", "/v1/files/f", "openai"), ("POST", "/v1/skills", "openai"),
        ("GET", "/v1/models", "openai"), ("DELETE", "/v1/responses/r", "openai"), ("POST", "/moderations", "openai"),
        ("POST", "/v1/messages/batches", "anthropic"), ("POST", "/messages", "anthropic"),
        ("GET", "/api/tags", "ollama"),
        ("GET", "/v1beta/cachedContents", "gemini"), ("POST", "/upload/v1beta/files", "gemini"),
        ("POST", "/v1/models/g:countTokens", "gemini"), ("POST", "/model/m/invoke", "aws-bedrock"),
        ("GET", "/openai/anything/at/all", "openai"), ("GET", "/groq/.env", "groq"),
    ],
)  # fmt: skip
def test_a_path_that_an_api_has_is_sent_as_before(method, path, provider):
    """Operations, resources that are only relayed, and whatever is below a mount."""
    read = parse_path(method, path, (), PROVIDERS)
    assert not is_stray(read)
    assert (read.default_provider if read.provider is None else read.provider.name) == provider


OPENAIS = "sk-proj-0123456789abcdef"
OWN = {
    "OpenAI's form": ("/v1/newest", (bearer(OPENAIS),), "openai", "/v1/newest"),
    "OpenAI's form, without a version": ("/newest", (bearer(OPENAIS),), "openai", "/v1/newest"),
    "OpenAI's older form": ("/v1/newest", (bearer("sk-0123456789abcdef0123"),), "openai", "/v1/newest"),
    "Anthropic's form": ("/v1/newest", (bearer("sk-ant-oat01-0123456789"),), "anthropic", "/v1/newest"),
    "Anthropic's headers": ("/v1/newest", ((b"X-Api-Key", b"mine"), VERSION), "anthropic", "/v1/newest"),
    "Google's form": ("/v1beta/newest", (bearer("AIza0123456789abcdef"),), "gemini", "/v1beta/newest"),
    "Google's header": ("/v1beta/newest", ((b"x-goog-api-key", b"mine"),), "gemini", "/v1beta/newest"),
    "Google's query": ("/v1beta/newest?key=AIza0123456789abcdef", (), "gemini", "/v1beta/newest"),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN)
def test_a_key_in_a_makers_form_carries_a_path_on(case):
    """An SDK's newest operation goes to its maker as it came, with the client's key and none of the gateway's."""
    raw, headers, maker, sent = OWN[case]
    path = parsed("POST", raw, headers, PROVIDERS)
    found = route(context(path, PROVIDERS, headers=headers))
    assert found.provider.name == maker
    assert target(headers, found).decode().partition("?")[0] == sent
    shown = forwarded(headers, found, decoded=False)
    assert {value for _, value in shown} >= {value for _, value in headers}
    assert "of-the" not in str(shown)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/newest", (bearer("mine"),)),
        ("/v1/newest", (bearer("gsk_0123456789abcdef"),)),  # its maker has no bare paths
        ("/v1/newest", (bearer("sk-0123456789abcdef0123"), VERSION)),  # whose?
        ("/v1/newest", ((b"x-api-key", b"mine"),)),
        ("/v1beta/newest", (bearer(OPENAIS),)),  # another API's version
        ("/v1/newest", (VERSION,)),
        ("/v1/newest", ((b"Cookie", OPENAIS.encode()),)),
    ],
)
def test_any_other_key_does_not(path, headers):
    """A key of an unknown form, or of a maker who has no such path, is no reason to send anything."""
    with pytest.raises(ExchangeError, match="no route"):
        parsed("POST", path, headers, PROVIDERS)


def test_a_client_that_names_a_provider_guesses_nothing():
    """By an option: then any path is sent there."""
    read = parse_path("POST", "/v1/rerank", (), PROVIDERS)
    assert settle(read, "POST", (), ("provider",), PROVIDERS).known
