"""What is sent beside the body: whose key goes where, and which headers and queries go nowhere."""

import itertools
import json

import pytest

from gateway.config.model import parse
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.proxy.headers import lower, without_scheme
from gateway.proxy.routing.routes import parse_path
from gateway.proxy.upstream_request import plan
from gateway.tracing.secrets import provider_secrets
from tests.support.routes import ANTHROPICS, context, route

MESSAGES = [{"role": "user", "content": "hi"}]
CUSTOM = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n"
ENVIRON = {
    "OPENAI_API_KEY": "env-openai",
    "ANTHROPIC_API_KEY": "env-anthropic",
    "GEMINI_API_KEY": "env-gemini",
    "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com",
    "AZURE_OPENAI_API_KEY": "env-azure",
    "AWS_REGION": "us-east-1",
    "GOOGLE_CLOUD_PROJECT": "p",
}
KEYS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
PROOFS = [
    ("Cookie", "session=client"),
    ("X-Auth-Token", "client"),
    ("Ocp-Apim-Subscription-Key", "client"),
    ("X-Amz-Security-Token", "client"),
    ("X-Amz-Date", "20260101T000000Z"),
    ("Proxy-Authorization", "client"),
]


def sent(target, model="m", headers=(), toml="", environ=None, *, anthropic=False):
    """Return the request that is planned."""
    config = parse(toml, {}, "t")
    providers = table.build(config, ENVIRON if environ is None else environ)
    providers["demo"] = table.demo("http://127.0.0.1:9/v1")
    body = json.dumps({"model": model, "max_tokens": 1, "messages": MESSAGES}).encode()
    if "generate" in target:
        body = b'{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}'
    elif "/converse" in target:
        body = b'{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}'
    where = parse_path("POST", target, ANTHROPICS if anthropic else (), providers)
    raw = tuple((name.encode(), value.encode()) for name, value in headers)
    asked = context(where, providers, body=body, decoded=body, headers=raw, config=config)
    return plan(asked, route(asked)).request


def keys(request):
    """Return the headers of a request that show a key, in lower case."""
    return [(n.decode().lower(), v.decode()) for n, v in request.headers if n.decode().lower() in KEYS]


# The front door, a model of its own and one of another's, and how the provider is shown a key.
DOORS = {
    "openai": ("/v1/chat/completions", "m", [("Authorization", "Bearer client")], "authorization", "Bearer "),
    "anthropic": ("/v1/messages", "m", [("X-Api-Key", "client")], "x-api-key", ""),
    "gemini": ("/v1beta/models/m:generateContent", None, [("x-goog-api-key", "client")], "x-goog-api-key", ""),
    "azure-openai": ("/openai/deployments/m/chat/completions", "m", [("api-key", "client")], "api-key", ""),
}
ENVIRONMENTS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "azure-openai": "AZURE_OPENAI_API_KEY",
}


@pytest.mark.parametrize("provider", DOORS)
@pytest.mark.parametrize(("configured", "clients", "environment"), list(itertools.product([False, True], repeat=3)))
def test_whose_key_goes_by_a_path(provider, configured, clients, environment):
    """The configured one, else the client's own as it came, else the environment's: one of them, or none."""
    target, model, client, name, before = DOORS[provider]
    toml = f"[providers.{provider}]\napi_key = 'ours'\n" if configured else ""
    environ = ENVIRON if environment else {n: v for n, v in ENVIRON.items() if n != ENVIRONMENTS[provider]}
    request = sent(target, model, client if clients else (), toml, environ)
    ours = "ours" if configured else f"env-{provider.removesuffix('-openai')}" if environment else None
    if clients and not configured:
        assert keys(request) == [(name, f"{before}client")]
    else:
        assert keys(request) == ([(name, f"{before}{ours}")] if ours else [])


GENERATE = "/v1beta/models/g:generateContent"
OTHERS = {  # by a model of another's: the path, the model, the provider, and how it is shown a key
    "claimed": ("/v1/chat/completions", "claude-x", "anthropic", "x-api-key", ""),
    "prefixed": ("/v1/chat/completions", "anthropic/x", "anthropic", "x-api-key", ""),
    "from messages": ("/v1/messages", "gpt-5", "openai", "authorization", "Bearer "),
    "the same dialect": ("/v1/chat/completions", "gemini/g", "gemini", "authorization", "Bearer "),
    "from gemini": ("/v1beta/models/openai/gpt-5:generateContent", None, "openai", "authorization", "Bearer "),
    "from bedrock": ("/model/anthropic%2Fx/converse", None, "anthropic", "x-api-key", ""),
    "to azure": ("/v1/chat/completions", "azure/d", "azure-openai", "api-key", ""),
}
CLIENTS = {
    "none": [],
    "bearer": [("Authorization", "Bearer client")],
    "x-api-key": [("x-api-key", "client")],
    "x-goog-api-key": [("X-Goog-Api-Key", "client")],
    "several": [("x-api-key", "client"), ("Authorization", "bearer other"), ("api-key", "third")],
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", OTHERS)
@pytest.mark.parametrize(("configured", "environment"), list(itertools.product([False, True], repeat=2)))
def test_whose_key_goes_by_a_models_name(way, configured, environment, client):
    """The configured one, else the environment's, shown as the provider is shown one; the client's is for others."""
    target, model, provider, name, before = OTHERS[way]
    toml = f"[providers.{provider}]\napi_key = 'ours'\n" if configured else ""
    environ = ENVIRON if environment else {n: v for n, v in ENVIRON.items() if n != ENVIRONMENTS[provider]}
    ours = "ours" if configured else f"env-{provider.removesuffix('-openai')}" if environment else None
    if CLIENTS[client] and not ours:
        with pytest.raises(ExchangeError, match=rf"\$.providers.{provider}.api_key") as caught:
            sent(target, model, CLIENTS[client], toml, environ)
        assert (caught.value.status, caught.value.code) == (401, "key_of_another_provider")
        return
    request = sent(target, model, CLIENTS[client], toml, environ)
    assert keys(request) == ([(name, f"{before}{ours}")] if ours else [])


@pytest.mark.parametrize(
    ("target", "model", "toml", "kept"),
    [
        ("/v1/chat/completions", "m", "", True),  # the client's own key, and its own provider
        ("/openai/v1/chat/completions", "m", "", True),
        ("/v1/chat/completions", "m", "[providers.openai]\napi_key = 'ours'", False),
        ("/v1/chat/completions", "local/m", CUSTOM, False),  # a provider that the client did not name by its path
        ("/local/v1/chat/completions", "m", CUSTOM, True),
        ("/v1/chat/completions", "claude-x", "[providers.anthropic]\napi_key = 'ours'", False),
        ("/v1/chat/completions", "demo/chat", "", False),
        ("/demo/v1/chat/completions", "chat", "", False),
        ("/model/x/converse", None, "", True),
        ("/v1/chat/completions", "bedrock/x", "", False),
    ],
)
def test_other_proofs_go_with_the_clients_own_key_only(target, model, toml, kept):
    """No cookie, token or signature of the client's goes along with a key of ours, or to whom it did not name."""
    request = sent(target, model, [("Authorization", "Bearer client"), *PROOFS], toml, {"AWS_REGION": "us-east-1"})
    names = {name.decode() for name, _ in request.headers}
    assert names & {name for name, _ in PROOFS} == ({n for n, _ in PROOFS[:-1]} if kept else set())


QUERY = "?alt=sse&key=client&x=%20y"


@pytest.mark.parametrize(
    ("target", "toml", "environ", "shown", "query"),
    [
        ("/v1beta/models/m:generateContent", "", ENVIRON, [], QUERY),
        ("/gemini/v1beta/models/m:generateContent", "", {}, [], QUERY),
        (
            "/v1beta/models/m:generateContent",
            "[providers.gemini]\napi_key = 'ours'",
            ENVIRON,
            [("x-goog-api-key", "ours")],
            "?alt=sse&x=%20y",
        ),
        ("/v1beta/models/demo/chat:generateContent", "", {}, [], ""),
        ("/v1beta/models/openai/gpt-5:generateContent", "", ENVIRON, [("authorization", "Bearer env-openai")], ""),
        (
            "/v1beta/models/openai/gpt-5:generateContent",
            "[auth]\npass_client_keys_to = ['openai']",
            {},
            [("authorization", "Bearer client")],
            "",
        ),
        (
            "/v1beta/models/vertex/g:generateContent",
            "",
            {"GOOGLE_CLOUD_PROJECT": "p"},
            [],
            "?alt=sse&x=%20y",
        ),
    ],
)
def test_a_key_in_googles_query_is_the_clients(target, toml, environ, shown, query):
    """It is passed on where a client's key is, with a key of ours it is not, and another provider is shown it."""
    request = sent(target + QUERY, None, (), toml, environ)
    assert keys(request) == shown
    assert request.target.decode().partition("?")[2] == query.removeprefix("?")
    assert "client" not in str(request.target) or query == QUERY


def test_a_key_in_another_apis_query_is_none():
    """What is called `key` there means something else, and every byte of it stays."""
    toml = "[providers.openai]\napi_key = 'ours'"
    assert sent("/v1/chat/completions?key=a&b", "m", (), toml).target == b"/v1/chat/completions?key=a&b"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (("Authorization", "Bearer "), None),
        (("Authorization", ""), None),
        (("x-api-key", ""), None),
        (("Authorization", "BEARER  client "), "client"),
        (("Authorization", "client"), "client"),
        (("Authorization", "Basic dTpw"), None),
        (("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=0"), None),
    ],
)
def test_what_is_no_key_is_not_shown_as_one(header, key):
    """Nothing, another scheme's and a signature are none for a provider that the client did not name."""
    toml = "[auth]\npass_client_keys_to = ['anthropic']"
    request = sent("/v1/chat/completions", "anthropic/x", [header], toml, environ={})
    assert keys(request) == ([("x-api-key", key)] if key else [])


def test_another_scheme_passes_to_whom_it_is_for():
    """A proxy of one's own may want Basic; what is no key of any scheme makes way for the environment's."""
    basic = ("Authorization", "Basic dTpw")
    assert keys(sent("/local/v1/chat/completions", "m", [basic], CUSTOM)) == [("authorization", "Basic dTpw")]
    for none in ("Bearer ", "AWS4-HMAC-SHA256 Signature=0"):
        shown = keys(sent("/v1/chat/completions", "m", [("Authorization", none)]))
        assert shown == [("authorization", "Bearer env-openai")]


@pytest.mark.parametrize(
    ("target", "model", "headers", "environ", "shown"),
    [
        # A client that signs means what it sent to us: it is signed anew, later.
        ("/model/m/converse", None, [("Authorization", "AWS4-HMAC-SHA256 x")], {}, []),
        ("/model/m/converse", None, [("Authorization", "Bearer client")], {}, [("authorization", "Bearer client")]),
        ("/model/m/converse", None, [("x-api-key", "client")], {}, []),
        ("/v1/chat/completions", "bedrock/m", [("Authorization", "Bearer client")], {}, []),
        (
            "/v1/chat/completions",
            "bedrock/m",
            [("Authorization", "Bearer client")],
            {"AWS_BEARER_TOKEN_BEDROCK": "env-aws"},
            [("authorization", "Bearer env-aws")],
        ),
        ("/v1/messages", "vertex/g", [("x-api-key", "client")], {}, []),
        (f"/vertex{GENERATE}", None, [("Authorization", "Bearer client")], {}, [("authorization", "Bearer client")]),
        (f"/vertex{GENERATE}", None, [], {}, []),
    ],
)
def test_a_clouds_credentials_stand_where_a_key_of_the_environment_would(target, model, headers, environ, shown):
    """Before a client's key by a model's name, after its own by a path."""
    environ = {"AWS_REGION": "us-east-1", "GOOGLE_CLOUD_PROJECT": "p", **environ}
    assert keys(sent(target, model, headers, "", environ)) == shown


# Headers that are no key.

OF_A_CLIENT = [
    ("User-Agent", "client/1"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "x"),
    ("openai-organization", "o"),
    ("x-stainless-lang", "python"),
    ("x-goog-api-client", "g"),
    ("amz-sdk-request", "attempt=1"),
    ("Accept", "text/event-stream"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "text/plain"),
    ("Content-Encoding", "gzip"),
    ("X-Gateway-Session", "s"),
    ("Connection", "keep-alive, X-Hop"),
    ("X-Hop", "1"),
    ("X-Other", "kept"),
]


def test_a_translated_request_says_nothing_of_the_clients_dialect():
    """What is of an API, its SDK or the body as the client wrote it is left out; all else stays, in its order."""
    request = sent("/v1/chat/completions", "anthropic/x", OF_A_CLIENT, environ={})
    assert [(n.decode(), v.decode()) for n, v in request.headers] == [
        ("User-Agent", "client/1"),
        ("X-Other", "kept"),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "identity"),
        ("anthropic-version", "2023-06-01"),
    ]
    names = {n for n, _ in sent("/v1/messages", "openai/x", OF_A_CLIENT, environ={}).headers}
    assert b"anthropic-version" not in names


def test_configured_headers_replace_and_are_secret():
    """They go to their provider only, in place of the client's of that name, and are known as secrets of ours."""
    toml = CUSTOM + "api_key = 'k'\nheaders = {Authorization = 'Bearer set', X-Team = 't'}"
    request = sent("/v1/chat/completions", "local/m", [("x-team", "theirs"), ("X-Api-Key", "c")], toml)
    said = [(n.decode().lower(), v.decode()) for n, v in request.headers]
    assert said[:2] == [("authorization", "Bearer set"), ("x-team", "t")]
    assert keys(request) == [("authorization", "Bearer set")]
    provider = table.build(parse(toml, {}, "t"), {})["local"]
    assert set(provider_secrets(provider)) == {"k", "Bearer set", "t"}


@pytest.mark.parametrize("environ", [{}, ENVIRON])
@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/messages"])
def test_a_configured_header_that_shows_a_key_is_the_only_one(target, environ):
    """Neither the environment's nor the client's goes beside it."""
    toml = "[providers.openai]\nheaders = {authorization = 'Bearer set'}"
    client = [("Authorization", "Bearer client"), ("x-api-key", "client"), ("Cookie", "c")]
    request = sent(target, "openai/m", client, toml, environ)
    assert keys(request) == [("authorization", "Bearer set")]
    assert b"Cookie" not in {name for name, _ in request.headers}


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Host",
        "Content-Length",
        "Expect",
        "X-Gateway-Session",
        "X-Chronicle-User-Id",
    ],
)
@pytest.mark.parametrize("model", ["m", "anthropic/x"])
def test_a_header_that_is_never_passed_on(name: str, model: str):
    """It is of one connection, of the message's framing, or an option of the gateway's; relayed or translated."""
    request = sent("/v1/chat/completions", model, [(name, "x"), ("X-Other", "kept")], environ={})
    names = [n.decode() for n, _ in request.headers]
    assert name not in names
    assert "X-Other" in names


@pytest.mark.parametrize(
    "name",
    [
        "anthropic-version",
        "anthropic-beta",
        "openai-organization",
        "x-stainless-os",
        "x-goog-api-client",
        "x-goog-user-project",
        "x-amz-target",
        "amz-sdk-invocation-id",
        "Content-Type",
        "Content-Encoding",
        "Accept",
        "Accept-Encoding",
    ],
)
def test_a_header_that_stays_with_its_dialect(name: str):
    """A relayed request has it; one that is written anew in another dialect does not."""
    relayed = sent("/v1/chat/completions", "m", [(name, "of-the-client")], environ={})
    assert (name, "of-the-client") in [(n.decode(), v.decode()) for n, v in relayed.headers]
    translated = sent("/v1/chat/completions", "anthropic/x", [(name, "of-the-client")], environ={})
    assert "of-the-client" not in [v.decode() for _, v in translated.headers]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "Cookie",
        "Ocp-Apim-Subscription-Key",
        "X-Amz-Content-Sha256",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Auth-Token",
    ],
)
def test_a_clients_proof_does_not_go_with_a_key_of_ours(name: str):
    """Whatever it proves, it is for whom the client meant; without a key of ours it passes to its provider."""
    ours = "[providers.openai]\napi_key = 'ours'"
    assert "of-the-client" in [
        v.decode() for _, v in sent("/v1/files", "m", [(name, "of-the-client")], environ={}).headers
    ]
    request = sent("/v1/files", "m", [(name, "of-the-client")], ours)
    assert "of-the-client" not in [v.decode() for _, v in request.headers]


def test_small_things():
    """A scheme is known in any case; of several headers of a name the first counts."""
    assert [without_scheme(v) for v in (b"Bearer a", b"BEARER a", b"a", b"bearer  a ")] == [b"a"] * 4
    assert lower(((b"A", b"1"), (b"a", b"2"))) == {"a": "1"}


# The audience of a client's key.

FORMS = {
    "anthropic": "sk-ant-api03-0123456789",
    "anthropic's OAuth": "sk-ant-oat01-0123456789",
    "openai": "sk-proj-0123456789abcdef",
    "gemini": "AIzaSyD0123456789abcdef",
    "groq": "gsk_0123456789abcdef",
    "xai": "xai-0123456789abcdef",
    "openrouter": "sk-or-v1-0123456789abcdef",
    "perplexity": "pplx-0123456789abcdef",
    "huggingface": "hf_0123456789abcdef",
    "nvidia": "nvapi-0123456789abcdef",
    "cerebras": "csk-0123456789abcdef",
    "fireworks": "fw_0123456789abcdef",
    "together": "tgp_v1_0123456789abcdef",
}
SHOWN = [
    lambda key: ("Authorization", f"Bearer {key}"),
    lambda key: ("x-api-key", key),
    lambda key: ("x-goog-api-key", key),
    lambda key: ("X-Any", key),
    lambda key: ("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{key}"),
]
WAYS = {  # by a path that is the provider's, and by a model
    "anthropic": [("/v1/messages", "m"), ("/anthropic/v1/messages", "m"), ("/v1/chat/completions", "anthropic/m")],
    "openai": [("/v1/chat/completions", "m"), ("/openai/v1/files", "m"), ("/v1/messages", "gpt-5")],
    "gemini": [(GENERATE, None), (f"/gemini{GENERATE}", None), ("/v1/chat/completions", "gemini-3")],
    "groq": [("/groq/openai/v1/chat/completions", "m"), ("/v1/chat/completions", "groq/m"), ("/v1/messages", "groq/m")],
    "deepseek": [("/deepseek/chat/completions", "m"), ("/v1/messages", "deepseek/m")],
    "local": [("/local/v1/chat/completions", "m"), ("/v1/messages", "local/m"), ("/v1/chat/completions", "local/m")],
}


def outcome(target, model, header, toml=""):
    """Return the text of the refusal, and the headers that are sent; one of them is empty."""
    try:
        return "", str(sent(target, model, [header], toml, {}).headers)
    except ExchangeError as error:
        return f"{error.status} {error.message}", ""


@pytest.mark.parametrize("provider", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_a_key_of_a_known_form_goes_to_its_maker_only(form, provider):
    """By whatever path and in whatever header it comes; another provider that needs a key gets ours, or no request."""
    key, maker = FORMS[form], form.removesuffix("'s OAuth")
    for target, model in WAYS[provider]:
        places = SHOWN[:3] if maker == provider else SHOWN
        for shown in places:
            refusal, headers = outcome(target, model, shown(key), CUSTOM)
            assert (key in headers) == (maker == provider)
            assert key not in refusal
            assert not refusal or (f"$.providers.{provider}.api_key" in refusal and provider not in {maker, "local"})
            assert refusal or provider in {maker, "local"} or shown in SHOWN[3:]
        configured = (
            f"[providers.{provider}]\napi_key = 'ours'\n" if provider != "local" else f"{CUSTOM}api_key = 'ours'"
        )
        ours = sent(target, model, [shown(key) for shown in places], configured, {})
        assert key not in str(ours.headers)
        assert "ours" in str(ours.headers)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "deepseek", "local"])
def test_a_setting_passes_any_clients_key(provider):
    """A provider of `pass_client_keys_to` is sent a key of any form, on any path, unless one of ours is configured."""
    toml = f"{CUSTOM}[auth]\npass_client_keys_to = ['{provider}']\n"
    for target, model in WAYS[provider]:
        request = sent(target, model, [("Authorization", f"Bearer {FORMS['gemini']}")], toml, {})
        assert FORMS["gemini"] in str(request.headers)


@pytest.mark.parametrize(
    ("key", "target", "toml", "goes"),
    [
        ("sk-0123456789abcdef", "/v1/chat/completions", "", True),
        ("sk-0123456789abcdef", "/deepseek/chat/completions", "", True),
        ("sk-0123456789abcdef", "/local/v1/chat/completions", "", True),
        ("sk-0123456789abcdef", "/groq/v1/chat/completions", "", False),  # its own keys have a form of their own
        ("sk-0123456789abcdef", "/v1/messages", "", False),
        ("sk-0123456789abcdef", "/v1/messages", "[providers.anthropic]\nbase_url = 'http://127.0.0.1:9'", True),
        ("a-key-of-no-known-form", "/v1/messages", "", True),
        ("sk-0123456789T3BlbkFJ0123456789", "/deepseek/chat/completions", "", False),
        (
            "sk-ant-0123456789abcd",
            "/same/v1/messages",
            "[providers.same]\nbase_url = 'https://api.anthropic.com'",
            True,
        ),
        (
            "sk-ant-0123456789abcd",
            "/other/v1/messages",
            "[providers.other]\nbase_url = 'https://api.example.com'",
            False,
        ),
    ],
)
def test_a_shared_form_goes_by_the_path(key, target, toml, goes):
    """OpenAI's form is used by others too; a provider of one's own at a maker's host is that maker."""
    dialect = "\ndialect = 'anthropic-messages'\n" if "providers.same" in toml or "providers.other" in toml else "\n"
    refusal, headers = outcome(target, "m", ("Authorization", f"Bearer {key}"), f"{toml}{dialect}{CUSTOM}")
    assert (key in headers) == goes
    assert refusal[:3] in ({""} if goes else {"", "401"})


@pytest.mark.parametrize(
    "value",
    [
        "Bearer {}", "bearer  {}", "Bearer\t{}", "Token {}", '"{}"', "key={}",
        "Basic dTpzay1hbnQtMDEyMzQ1Njc4OWFiY2RlZg==",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Cookie", "X-Any"])
def test_a_key_of_another_maker_is_known_in_any_wording(name, value):
    """After any scheme, in quotes, in a cookie or as a password."""
    for target in ("/local/v1/chat/completions", "/local/v1/files"):
        request = sent(target, "m", [(name, value.format("sk-ant-0123456789abcdef"))], CUSTOM, {})
        assert name.encode() not in {each for each, _ in request.headers}


def test_a_key_of_another_maker_stays_out_of_the_query():
    """In whichever parameter, in Google's place of a key too; the rest of the query is as it came."""
    query = f"?a=%20b&x={FORMS['gemini']}&c"
    assert sent(f"/v1/chat/completions{query}", "m", (), environ={}).target == b"/v1/chat/completions?a=%20b&c"
    assert sent(f"{GENERATE}{query}", None, (), environ={}).target.endswith(query.encode())
    request = sent(f"{GENERATE}?key={FORMS['openai']}&alt=sse", None, [("x-goog-api-key", FORMS["gemini"])], environ={})
    assert request.target.endswith(b"?alt=sse")


@pytest.mark.parametrize(
    ("key", "toml", "refused"),
    [
        ("x", "[providers.openai]\nbase_url = 'http://127.0.0.1:9/v1'", False),
        ("not-needed", "[providers.openai]\nbase_url = 'http://127.0.0.1:9/v1'", False),
        ("a-key-of-no-known-form", "[providers.openai]\nbase_url = 'http://127.0.0.1:9/v1'", True),
        ("x", "", True),
    ],
)
def test_a_word_in_place_of_a_key_is_no_reason_to_refuse(key, toml, refused):
    """At an address of one's own a server may need no key, and SDKs send some word; it is not passed on either way."""
    refusal, headers = outcome("/v1/messages", "openai/m", ("x-api-key", key), toml)
    assert bool(refusal) == refused
    assert key not in dict.fromkeys(value for value in headers.split("'"))


@pytest.mark.parametrize("name", ["api-key", "access_token", "Key", "k%65y", "sig", "X-Secret"])
def test_a_key_in_the_query_does_not_reach_another_maker(name):
    """Whatever its parameter is called; the rest of the query stays, and on the maker's own path all of it."""
    query = f"?a=1&{name}=client-0123456789"
    assert sent(f"/v1/chat/completions{query}", "groq/c").target.endswith(b"/chat/completions?a=1")
    assert sent(f"/groq/v1/chat/completions{query}").target.endswith(query.encode())
