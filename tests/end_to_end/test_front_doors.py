"""The front doors over real sockets: every API's paths lead on, untouched where they can, and are known."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream, reply

JSON = ("Content-Type", "application/json")
NAMES = ("openai", "anthropic", "gemini", "ollama", "aws-bedrock", "azure-openai", "vertex", "groq", "cohere")
ENVIRON = {"AWS_BEARER_TOKEN_BEDROCK": "k" * 20, "GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_OAUTH_ACCESS_TOKEN": "t" * 20}

CHAT = b'{ "model":"m", "messages":[{"role":"user","content":"hi"}], "odd":1.50 }'
INPUT = b'{ "model":"m", "input":"hi", "odd":1.50 }'
CONTENTS = b'{ "contents":[{"role":"user","parts":[{"text":"hi"}]}], "odd":1.50 }'
TEXTS = b'{ "model":"m", "texts":["hi"], "odd":1.50 }'
CONTENT = b'{ "content":{"parts":[{"text":"hi"}]}, "odd":1.50 }'
BATCH = b'{ "requests":[{"model":"models/g","content":{"parts":[{"text":"hi"}]}}], "odd":1.50 }'
TURNS = b'{ "messages":[{"role":"user","content":[{"text":"hi"}]}], "odd":1.50 }'
PROMPT = b'{ "model":"m", "prompt":"hi", "stream":false, "odd":1.50 }'
COUNT = b'{ "model":"m", "max_tokens":1, "messages":[{"role":"user","content":"hi"}] }'


GENERATE = "generate_content"


class Door(NamedTuple):
    """A request, and what is known of it: provider, dialect, operation and model."""

    target: str
    body: bytes
    provider: str
    dialect: str | None
    operation: str | None
    model: str | None = "m"
    sent: str | None = None


DOORS = [
    Door("/v1/chat/completions", CHAT, "openai", "openai-chat", "chat"),
    Door("/chat/completions", CHAT, "openai", "openai-chat", "chat"),
    Door("/v1/completions", PROMPT, "openai", "openai-chat", "text_completion"),
    Door("/v1/responses", INPUT, "openai", "openai-responses", "chat"),
    Door("/v1/responses/compact", INPUT, "openai", "openai-responses", "compact"),
    Door("/v1/responses/input_tokens", INPUT, "openai", "openai-responses", "count_tokens"),
    Door("/v1/embeddings", INPUT, "openai", "openai-chat", "embeddings"),
    Door("/v1/messages/count_tokens", COUNT, "anthropic", "anthropic-messages", "count_tokens"),
    Door("/v1/messages?beta=true", COUNT, "anthropic", "anthropic-messages", "chat"),
    Door("/v1beta/models/g:generateContent", CONTENTS, "gemini", "gemini", GENERATE, "g"),
    Door("/v1alpha/models/a%2Fg:generateContent", CONTENTS, "gemini", "gemini", GENERATE, "a/g"),
    Door("/v1beta/tunedModels/g:generateContent", CONTENTS, "gemini", "gemini", GENERATE, "tunedModels/g"),
    Door("/v1beta/models/g:embedContent", CONTENT, "gemini", "gemini", "embeddings", "g"),
    Door("/v1beta/models/g:batchEmbedContents", BATCH, "gemini", "gemini", "embeddings", "g"),
    Door("/v1beta/models/g:countTokens", CONTENTS, "gemini", "gemini", "count_tokens", "g"),
    Door("/v1beta/openai/chat/completions", CHAT, "gemini", "openai-chat", "chat"),
    Door("/v1/projects/q/publishers/google/models/g:generateContent", CONTENTS, "vertex", "gemini", GENERATE, "g"),
    Door("/v2/chat", CHAT, "cohere", "cohere", "chat"),
    Door("/v2/embed", TEXTS, "cohere", "cohere", "embeddings"),
    Door("/v2/rerank", INPUT, "cohere", None, None),
    Door("/api/chat", CHAT, "ollama", "ollama", "chat"),
    Door("/api/generate", PROMPT, "ollama", "ollama", "text_completion"),
    Door("/api/embed", INPUT, "ollama", "ollama", "embeddings"),
    Door("/api/pull", b'{"model":"m"}', "ollama", None, None),
    Door("/model/us.nova%3A0/converse", TURNS, "aws-bedrock", "bedrock-converse", "chat", "us.nova:0"),
    Door("/model/us.nova:0/converse", TURNS, "aws-bedrock", "bedrock-converse", "chat", "us.nova:0"),
    Door("/model/x/invoke", TURNS, "aws-bedrock", "bedrock-invoke", "chat", "x"),
    Door("/openai/deployments/d/chat/completions?api-version=1", CHAT, "azure-openai", "openai-chat", "chat", "d"),
    Door("/groq/openai/v1/chat/completions", CHAT, "groq", "openai-chat", "chat", sent="/openai/v1/chat/completions"),
    Door("/v1/moderations", INPUT, "openai", None, None),
]  # fmt: skip


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path):
    toml = "".join(f'[providers.{name}]\nbase_url = "{upstream.url}"\n' for name in NAMES)
    async with InProcess(tmp_path / "data", toml, ENVIRON | {"HOME": str(tmp_path)}) as gateway:
        yield gateway


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.target)
async def test_what_comes_in_goes_on_untouched_and_is_known(upstream: Upstream, gateway: InProcess, door: Door):
    """Every byte up and down, at its own provider; the spans say what was asked, of whom and in which dialect."""
    upstream.answers(reply(b'{ "odd" : 1.50 }', headers=[("X-Own", "1")]))
    answer = await exchange(gateway.url, request("POST", door.target, [JSON], door.body))
    assert (answer.status, answer.body, answer.values(b"x-own")) == (200, b'{ "odd" : 1.50 }', [b"1"])
    assert answer.values(b"x-gateway-dropped") == []
    (asked,) = upstream.asked
    assert (asked.target, asked.body) == (door.sent or door.target, door.body)
    attempt = gateway.attempt()
    assert (attempt["provider"], attempt.get("dialect")) == (door.provider, door.dialect)
    assert (attempt.get("operation"), attempt["outcome"]) == (door.operation, "ok")
    assert gateway.exchange().get("request_model") == door.model
    if door.dialect is not None:
        assert "hi" in json.dumps(attempt["input_messages"])


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    ("target", "provider"),
    [
        ("/v1/files/f_1?x=%20y", "openai"),
        ("/v1/models/ft:gpt-5:acme::abc", "openai"),
        ("/v1beta/files/f:1", "gemini"),
        ("/api/tags", "ollama"),
        ("/anthropic/v1/skills/x", "anthropic"),
        ("/model/x", "aws-bedrock"),
    ],
)
async def test_other_methods_pass(upstream: Upstream, gateway: InProcess, method, target, provider):
    """With their path, their query and their body, whatever it is."""
    body = b"\x00\xff" if method in {"PUT", "PATCH"} else b""
    answer = await exchange(gateway.url, request(method, target, [("Content-Type", "application/x-odd")], body))
    assert answer.status == 200
    (asked,) = upstream.asked
    assert (asked.method, asked.target, asked.body) == (method, target.removeprefix("/anthropic"), body)
    assert gateway.attempt()["provider"] == provider


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
@pytest.mark.parametrize("target", ["/api/chat", "/v1/chat/completions"])
async def test_json_of_another_type_is_read(upstream: Upstream, gateway: InProcess, target, kind):
    """Ollama's own examples send curl's default type: such a request is known like any other, and sent as it came."""
    headers = [("Content-Type", kind)] if kind else []
    await exchange(gateway.url, request("POST", target, headers, CHAT))
    assert gateway.attempt()["request_model"] == "m"
    assert (upstream.asked[0].header("content-type"), upstream.asked[0].body) == (kind, CHAT)
    prefixed = CHAT.replace(b'"m"', b'"demo/chat"')
    assert (await exchange(gateway.url, request("POST", target, headers, prefixed))).status == 200
    assert gateway.rows("CLIENT")[1]["provider"] == "demo"


HELLO = [{"role": "user", "content": "hi"}]
DEMOS: dict[str, tuple[dict[str, Any], str]] = {
    "/v1/chat/completions": ({"model": "demo/chat", "messages": HELLO}, "choices"),
    "/v1/responses": ({"model": "demo/chat", "input": "hi"}, "output"),
    "/v1/messages": ({"model": "demo/chat", "max_tokens": 99, "messages": HELLO}, "content"),
    "/v1beta/models/demo/chat:generateContent": (json.loads(CONTENTS), "candidates"),
    "/api/chat": ({"model": "demo/chat", "messages": HELLO, "stream": False}, "message"),
    "/api/generate": ({"model": "demo/chat", "prompt": "hi", "stream": False}, "response"),
    "/model/demo%2Fchat/converse": ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "output"),
    "/openai/deployments/demo/chat/chat/completions": ({"model": "demo/chat", "messages": HELLO}, "choices"),
    "/v1/completions": ({"model": "anthropic/m", "prompt": "hi"}, "choices"),
}  # fmt: skip


@pytest.mark.parametrize("target", DEMOS)
async def test_any_model_answers_at_any_door(upstream: Upstream, gateway: InProcess, read, target):
    """In the door's own words, under the name that was asked for or that the provider gave."""
    upstream.answers(reply(read("messages_whole.json")))
    body, field = DEMOS[target]
    answer = await exchange(gateway.url, request("POST", target, [JSON], json.dumps(body).encode()))
    assert answer.status == 200
    said = json.loads(answer.body)
    assert said[field]
    assert gateway.exchange()["provider"] == ("anthropic" if target == "/v1/completions" else "demo")


NOWHERE = {
    "/nowhere/v1/chat/completions": [],
    "/": [("anthropic-version", "2023-06-01")],
    "/api/v1/chat/completions": [],
}


@pytest.mark.parametrize("target", NOWHERE)
async def test_a_path_of_nobody_is_told(upstream: Upstream, gateway: InProcess, target):
    """With 404 and the paths that there are; it is no exchange."""
    answer = await exchange(gateway.url, request("POST", target, [JSON, *NOWHERE[target]], CHAT))
    error = json.loads(answer.body)["error"]
    assert (answer.status, "/groq/" in error["message"]) == (404, True)
    assert ("code" in error) == (not NOWHERE[target])
    assert upstream.asked == []
    assert gateway.rows() == []


# Targets that are whole URLs (RFC 9112, section 3.2.2: a server takes them).


async def absolute(gateway: InProcess, target: str, method: str = "POST", body: bytes = CHAT) -> Answer:
    """Ask by a whole URL, as to a proxy."""
    return await exchange(gateway.url, request(method, target, [JSON], body))


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("http://gateway.example/v1/chat/completions", "/v1/chat/completions"),
        ("HTTP://gateway.example:80/v1/chat/completions?a=%20b&&c", "/v1/chat/completions?a=%20b&&c"),
        ("https://[::1]:8080//v1/chat/completions", "/v1/chat/completions"),
        ("http://u:secret-0123456789-0123456789@h/openai/v1/chat/completions", "/v1/chat/completions"),
        ("http://h/v1/models/a%2Fb:c?d", "/v1/models/a%2Fb:c?d"),
        ("http://h/v1/models/%7Ea%2f?%7E=+&b=c/d?e", "/v1/models/%7Ea%2f?%7E=+&b=c/d?e"),
    ],
)
async def test_a_whole_url_is_its_path(upstream: Upstream, gateway: InProcess, target, sent):
    """What it names is below this gateway, whatever its host; a user in it is for nobody and in no span."""
    assert (await absolute(gateway, target)).status == 200
    (asked,) = upstream.asked
    assert (asked.target, asked.body) == (sent, CHAT)
    assert asked.header("host") == upstream.url.removeprefix("http://")
    assert "secret-" not in json.dumps(gateway.rows())
    assert gateway.exchange()["path"].startswith("/")


@pytest.mark.parametrize(
    "target",
    ["http://h", "http://h?x=1", "http://h?x=/v1/models", "ftp://h/v1/chat/completions", "h:443", "://", "http:///"],
)
async def test_a_whole_url_without_a_path_of_ours_is_told_so(upstream: Upstream, gateway: InProcess, target):
    """Another scheme's too, and what is no URL."""
    assert (await absolute(gateway, target)).status in {400, 404}
    assert upstream.asked == []


async def test_our_own_pages_have_whole_urls_too(upstream: Upstream, gateway: InProcess):
    """They are ours and no provider's."""
    answer = await absolute(gateway, "http://localhost/-/health", "GET", b"")
    assert (answer.status, "version" in json.loads(answer.body)) == (200, True)
    assert upstream.asked == []
    assert gateway.rows() == []


async def test_a_whole_url_on_a_kept_connection(upstream: Upstream, gateway: InProcess):
    """The next request on the connection is as good, and large bodies are read to their end."""
    large = CHAT.replace(b'"hi"', b'"%b"' % (b"x" * 300_000))
    for body in (large, CHAT, large):
        assert (await absolute(gateway, "http://h/v1/chat/completions", body=body)).status == 200
    assert [len(asked.body) for asked in upstream.asked] == [len(large), len(CHAT), len(large)]
