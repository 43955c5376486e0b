"""The requests that a provider of the table receives: keys, headers, names of models, paths and timeouts."""

import gzip
import json
from typing import Any

import pytest

from gateway.config.model import Config, parse
from gateway.providers.table import build
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import CLOSE, Upstream, events, reply, stream

JSON = ("Content-Type", "application/json")
CHAT = b'{"model":"m","messages":[]}'


async def post(gateway: InProcess, path: str, body: bytes = CHAT, *headers: tuple[str, Any]) -> Answer:
    """Post JSON to the gateway."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], body))


def local(upstream: Upstream, more: str = "", name: str = "local") -> str:
    """Return a configuration with a provider of the user's own."""
    return to(upstream.url, f'[providers.{name}]\nbase_url = "{upstream.url}/v1"\n{more}')


AUTHS = ("authorization", "x-api-key", "api-key")
CLIENTS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "bearer": [("Authorization", "Bearer client")],
    "x-api-key": [("X-Api-Key", "client")],
    "api-key": [("api-key", "client")],
    "all": [("authorization", "bearer client"), ("x-api-key", "client"), ("API-KEY", "client")],
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("environment", [False, True])
@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("path", "provider", "signed"),
    [
        ("/v1/chat/completions", "openai", ("authorization", "Bearer ours")),
        ("/v1/messages", "anthropic", ("x-api-key", "ours")),
    ],
)
async def test_whose_key_is_sent(upstream: Upstream, tmp_path, path, provider, signed, configured, environment, client):
    """A configured key replaces the client's; else the client's goes on as it is; else the environment's is used."""
    toml = to(upstream.url).replace(f"[providers.{provider}]\n", f"[providers.{provider}]\napi_key = 'ours'\n")
    environ = {f"{provider.upper()}_API_KEY": "unused" if configured else "ours"} if environment else {}
    async with InProcess(tmp_path / "data", toml if configured else to(upstream.url), environ) as gateway:
        assert (await post(gateway, path, CHAT, *client)).status == 200
    (asked,) = upstream.asked
    sent = [(name.lower(), value) for name, value in asked.headers if name.lower() in AUTHS]
    if configured or (environment and not client):
        assert sent == [signed]
    else:
        assert sent == [(name.lower(), value) for name, value in client]


async def test_a_key_of_one_provider_goes_to_no_other(upstream: Upstream, tmp_path):
    """Keys of the configuration and of the environment are sent to the provider that they are for."""
    toml = local(upstream, "api_key = 'local-key'\n")
    environ = {"OPENAI_API_KEY": "openai-key", "ANTHROPIC_API_KEY": "anthropic-key"}
    async with InProcess(tmp_path / "data", toml, environ) as gateway:
        for path in ("/v1/chat/completions", "/v1/messages", "/local/v1/chat/completions"):
            await post(gateway, path)
        seen = [{key for key in ("local-key", "openai-key", "anthropic-key") if key in repr(a)} for a in upstream.asked]
    assert seen == [{"openai-key"}, {"anthropic-key"}, {"local-key"}]


# What a client may send: odd white space, names that look like the model's, fields nobody knows, and no ASCII.
ODD = (
    b'{ "messages": [{"role":"user","content":"\\"model\\": \\"local/a\\" \xc3\xbc","model":"local/b"}],\n'
    b'\t"model_x":"local/c", "model" :  "local/big" ,"unknown":{"model":"local/d","n":1.50e+2},'
    b'"seed":12345678901234567890}\n'
)


async def test_a_prefix_chooses_the_provider_and_only_the_models_name_changes(upstream: Upstream, tmp_path):
    """Every other byte of the body is as the client sent it, and the spans know both names."""
    async with InProcess(tmp_path / "data", local(upstream)) as gateway:
        assert (await post(gateway, "/v1/chat/completions", ODD)).status == 200
        (asked,) = upstream.asked
        assert asked.body == ODD.replace(b'"model" :  "local/big"', b'"model" :  "big"')
        assert asked.header("content-length") == str(len(asked.body))
        assert (gateway.exchange()["request_model"], gateway.attempt()["request_model"]) == ("local/big", "big")
        assert gateway.attempt()["name"] == "chat big"
        assert gateway.attempt()["attributes"]["gen_ai.provider.name"] == "local"


async def test_a_prefix_of_its_own_replaces_the_name(upstream: Upstream, tmp_path):
    """`prefix` says by what a provider is known; the name then stands for nothing but its mount."""
    async with InProcess(tmp_path / "data", local(upstream, "prefix = 'my-'\n")) as gateway:
        await post(gateway, "/v1/chat/completions", b'{"model":"my-model","messages":[]}')
        await post(gateway, "/v1/chat/completions", b'{"model":"local/model","messages":[]}')
        assert [asked.json["model"] for asked in upstream.asked] == ["model", "local/model"]
        assert [row["provider"] for row in gateway.rows("SERVER")] == ["local", "openai"]


async def test_a_mounted_path_says_the_provider_and_leaves_the_body(upstream: Upstream, tmp_path):
    """Below /NAME/ no name of a model is looked at, and nothing is changed."""
    async with InProcess(tmp_path / "data", local(upstream)) as gateway:
        assert (await post(gateway, "/local/v1/chat/completions", ODD)).status == 200
        (asked,) = upstream.asked
        assert (asked.body, asked.target) == (ODD, "/v1/chat/completions")
        assert gateway.exchange()["provider"] == "local"


async def test_a_coded_body_is_decoded_only_to_be_renamed(upstream: Upstream, tmp_path):
    """A gzipped body that needs no change goes on as it came; one that does is sent plain."""
    async with InProcess(tmp_path / "data", local(upstream)) as gateway:
        for name in (b"m", b"local/big"):
            coded = gzip.compress(b'{"model":"%b","messages":[]}' % name)
            assert (await post(gateway, "/v1/chat/completions", coded, ("Content-Encoding", "gzip"))).status == 200
        plain, renamed = upstream.asked
        assert (gzip.decompress(plain.body), plain.header("content-encoding")) == (CHAT, "gzip")
        assert (renamed.body, renamed.header("content-encoding")) == (b'{"model":"big","messages":[]}', None)


@pytest.mark.parametrize("body", [b'{"model":"local/","messages":[]}', b'{"model":"openai/","messages":[]}'])
async def test_a_prefix_alone_is_no_model(upstream: Upstream, tmp_path, body):
    """It is refused with the code that clients know, before anything is sent."""
    async with InProcess(tmp_path / "data", local(upstream)) as gateway:
        answer = await post(gateway, "/v1/chat/completions", body)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "model_not_found")
        assert upstream.asked == []


async def test_headers_are_added_and_replace_the_clients(upstream: Upstream, tmp_path):
    """Of a header that the configuration names the client's is not sent, in whatever case; all others are."""
    toml = local(upstream, 'headers = {X-Team = "ours", "User-Agent" = "gateway"}\n')
    sent = [("x-team", "theirs"), ("X-TEAM", "theirs too"), ("User-Agent", "client/1"), ("X-Other", "kept")]
    async with InProcess(tmp_path / "data", toml) as gateway:
        await post(gateway, "/local/v1/chat/completions", CHAT, *sent)
        await post(gateway, "/v1/chat/completions", CHAT, *sent)
        assert gateway.rows("SERVER")[0]["client"] == "client"
    own, other = upstream.asked
    assert [(n, v) for n, v in own.headers if n.lower() in {"x-team", "user-agent", "x-other"}] == [
        ("X-Other", "kept"),
        ("X-Team", "ours"),
        ("User-Agent", "gateway"),
    ]
    assert [value for name, value in other.headers if name.lower() == "x-team"] == ["theirs", "theirs too"]


MISMATCHES = {
    "embeddings to anthropic": ("/anthropic/v1/embeddings", CHAT, "anthropic-messages, not openai-chat"),
    "embeddings by prefix": ("/v1/embeddings", b'{"model":"anthropic/x","input":"x"}', "anthropic-messages, not"),
}


@pytest.mark.parametrize(("path", "body", "reason"), MISMATCHES.values(), ids=MISMATCHES.keys())
async def test_what_cannot_be_translated_is_refused(upstream: Upstream, tmp_path, path, body, reason):
    """The error is in the client's dialect, and names the provider, what it speaks and the setting."""
    async with InProcess(tmp_path / "data", local(upstream)) as gateway:
        answer = await post(gateway, path, body)
        error = json.loads(answer.body)
        assert answer.status == 400
        assert reason in error["error"]["message"]
        assert "$.providers.anthropic.dialect" in error["error"]["message"]
        assert upstream.asked == []
        assert gateway.exchange()["outcome"] == "bad_input"


async def test_a_provider_speaks_what_it_is_said_to(upstream: Upstream, tmp_path):
    """A list of dialects is as good as one: what is in none of them is translated into the first."""
    toml = local(upstream, 'dialect = ["openai-responses", "anthropic-messages"]\n')
    asked = b'{"model":"m","input":"x","messages":[{"role":"user","content":"x"}]}'
    async with InProcess(tmp_path / "data", toml) as gateway:
        for path in ("responses", "messages", "chat/completions", "anything"):
            await post(gateway, f"/local/v1/{path}", asked)
    targets = list(dict.fromkeys(each.target for each in upstream.asked))
    assert targets == ["/v1/responses", "/v1/messages", "/v1/anything"]
    assert [each.body for each in upstream.asked if each.target == "/v1/messages"] == [asked]


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
    ],
)
async def test_requests_are_sent_below_the_base_url(upstream: Upstream, tmp_path, base, target):
    """With or without /v1 on either side there is one in the end, none where neither has it; the query stays."""
    toml = f'[providers.local]\nbase_url = "{upstream.url}{base}"\n'
    async with InProcess(tmp_path / "data", toml) as gateway:
        for path in ("/local/chat/completions", "/local/v1/chat/completions", "/local/v1/v1/chat/completions"):
            assert (await post(gateway, f"{path}?a=%20b&&a")).status == 200
    bare, *versioned = [asked.target for asked in upstream.asked]
    assert versioned == [f"{target}?a=%20b&&a"] * 2
    assert bare == (versioned[0] if base.strip("/") else "/chat/completions?a=%20b&&a")
    assert {asked.header("host") for asked in upstream.asked} == {upstream.url.removeprefix("http://")}


@pytest.mark.parametrize("slow", ["head", "body"])
async def test_a_provider_has_its_own_timeout(upstream: Upstream, tmp_path, slow):
    """It bounds an attempt as a whole and is named in the error; other providers have the default."""
    head: list[Any] = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"]
    upstream.answers([*(head if slow == "body" else []), 30.0, CLOSE])
    async with InProcess(tmp_path / "data", local(upstream, "timeout = 0.2\n")) as gateway:
        answer = await post(gateway, "/local/v1/chat/completions")
        assert answer.status == 504
        assert "$.providers.local.timeout" in json.loads(answer.body)["error"]["message"]
        assert gateway.exchange()["outcome"] == "timeout"
        await upstream.left()
        upstream.answers([0.4, *reply({"ok": True})])
        assert (await post(gateway, "/v1/chat/completions")).status == 200


ASKED = b'{"model":"local/m","stream":true,"messages":[]}'


@pytest.mark.parametrize(
    ("more", "asks"),
    [("", False), ("stream_usage = true\n", True), ("stream_usage = true\n[usage]\nask = false\n", False)],
)
async def test_usage_is_asked_for_where_a_provider_is_known_to_tell_it(upstream: Upstream, tmp_path, read, more, asks):
    """For a configured provider that is a setting; the client gets no chunk that it did not request."""
    upstream.answers(stream(events(read("chat_text.sse"))))
    async with InProcess(tmp_path / "data", local(upstream, more)) as gateway:
        answer = await post(gateway, "/v1/chat/completions", ASKED)
        assert (b'"choices":[],"usage":{' in answer.body) != asks
        assert upstream.asked[0].json.get("stream_options") == ({"include_usage": True} if asks else None)
        assert gateway.attempt()["usage_source"] == "reported"


def test_a_built_in_provider_keeps_what_is_not_said():
    """A configured base URL for `openai` keeps its dialects, prefix and usage, and changes no other provider."""
    config = parse('[providers.openai]\nbase_url = "http://127.0.0.1:1/x"\n', {}, "t")
    changed, plain = build(config, {})["openai"], build(Config(), {})["openai"]
    assert (changed.origin.port, changed.base_path) == (1, "/x")
    for name in ("dialects", "prefixes", "stream_usage", "genai_name", "key_sent"):
        assert getattr(changed, name) == getattr(plain, name)
    assert build(config, {})["anthropic"] == build(Config(), {})["anthropic"]


def test_an_empty_key_is_none():
    """`${env:KEY:-}` and an empty variable mean that there is no key."""
    config = parse('[providers.openai]\napi_key = "${env:NO_SUCH:-}"\n', {}, "t")
    provider = build(config, {"OPENAI_API_KEY": ""})["openai"]
    assert (provider.key, provider.environment_key) == (None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example.com/v1", "https://api.example.com"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/v1", "http://[::1]:9000"),
        ("http://[::1]/v1", "http://[::1]"),
        ("HTTP://Example.COM:80", "http://example.com"),
    ],
)
def test_a_provider_is_shown_by_its_url(url, shown):
    """Scheme, host and port where it is not the usual one."""
    provider = build(parse(f'[providers.local]\nbase_url = "{url}"\n', {}, "t"), {})["local"]
    assert provider.url == shown
    assert repr(provider).startswith(f"<Provider local {shown}")
