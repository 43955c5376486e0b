"""Planning: what is sent for one exchange, and within which deadlines."""

import json
from typing import Any

import pytest

from gateway.config.model import parse
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.proxy.routing.routes import parse_path
from gateway.proxy.upstream_request import Plan, plan
from tests.support.routes import context, route

CUSTOM = "[providers.local]\nbase_url = 'http://127.0.0.1:9/v1'\n"
ENVIRON = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com", "AWS_REGION": "us-east-1"}
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = b'{ "messages": [], "model" : "m", "stream":true }'
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
UNREADABLE = b"\x00\x01 in a coding"


def planned(target: str, body: bytes, toml: str = "", *, decoded: bytes | None = b"") -> Plan:
    """Return the plan for a request."""
    config = parse(toml, {}, "t")
    providers = table.build(config, ENVIRON)
    where = parse_path("POST", target, (), providers)
    seen = body if decoded == b"" else decoded
    asked = context(where, providers, body=body, decoded=seen, headers=((b"Content-Encoding", b"x"),), config=config)
    return plan(asked, route(asked))


def refusal(*asked: Any, **more: Any) -> ExchangeError:
    """Return why a request cannot be sent."""
    with pytest.raises(ExchangeError) as caught:
        planned(*asked, **more)
    return caught.value


def test_bytes_that_no_rule_changes_are_sent_as_they_came() -> None:
    """In whatever coding, JSON or not."""
    for body in (CHAT.replace(b"true", b"false"), UNREADABLE, b""):
        made = planned("/v1/chat/completions", body, decoded=None)
        assert (made.request.body, made.request.headers) == (body, ((b"Content-Encoding", b"x"),))
    assert (made.withhold_usage, made.translation) == (None, None)


def test_a_prefix_changes_the_models_name_alone() -> None:
    """What is sent then is in no coding."""
    body = b'{ "model" : "local/m", "x":1.50 }'
    made = planned("/v1/chat/completions", body, CUSTOM)
    assert (made.request.body, made.request.headers) == (b'{ "model" : "m", "x":1.50 }', ())


@pytest.mark.parametrize(
    ("target", "body", "model"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES}, "aws-bedrock/.."),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 1}, "aws-bedrock/../../admin"),
        ("/v1/chat/completions", {"messages": MESSAGES}, "g/../../admin"),
        ("/v1/chat/completions", {"messages": MESSAGES}, "g/%2e%2e/admin"),
    ],
)
def test_a_models_name_leaves_no_base_url(target: str, body: dict[str, Any], model: str) -> None:
    """A name that would be a parent segment of the provider's path is refused; dots within a name are not."""
    google = "[providers.g]\nbase_url = 'http://127.0.0.1:9/v1beta'\ndialect = 'gemini'\n"
    error = refusal(target, json.dumps({"model": model, **body}).encode(), google)
    assert (error.status, error.code) == (400, "bad_path")
    assert planned(target, json.dumps({"model": "aws-bedrock/a..b", **body}).encode()).request.target


def test_usage_is_asked_for_of_chat_streams() -> None:
    """Where nothing was said of it and the provider is known to tell it; not of other dialects, nor where it is off."""
    assert planned("/v1/chat/completions", CHAT).withhold_usage
    said = CHAT.replace(b"}", b',"stream_options":{}}')
    for target, body, toml in (
        ("/v1/chat/completions", said, ""),
        ("/v1/chat/completions", CHAT, "[usage]\nask = false"),
        ("/v1/chat/completions", CHAT.replace(b"true", b"false"), ""),
        ("/local/v1/chat/completions", CHAT, CUSTOM),
        ("/v1/responses", CHAT.replace(b"messages", b"input"), ""),
        ("/v1/messages", CHAT, ""),
    ):
        made = planned(target, body, toml)
        assert (made.withhold_usage, made.request.body) == (None, body)


# The text to embed looks like the model's name.
BATCH = b'{"requests":[{"model" : "%b","content":{"parts":[{"text":"\\"model\\":\\"models/gemini/g\\""}]}},{}]}'


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        # Azure's path names the model, so that its body may do as it likes.
        ("/openai/deployments/azure/d/chat/completions", b'{"messages":[]}', b'{"messages":[]}'),
        ("/openai/deployments/azure/d/chat/completions", b'{"model":"azure/d"}', b'{"model":"d"}'),
        ("/openai/deployments/local/m/chat/completions", b'{"model":"local/m"}', b'{"model":"m"}'),
        ("/v1beta/models/gemini/g:embedContent", b'{"model":"models/x"}', b'{"model":"models/x"}'),
        ("/v1beta/models/gemini/g:embedContent", b'{"model":"models/gemini/g"}', b'{"model":"models/g"}'),
        ("/v1beta/models/gemini%2Fg:batchEmbedContents", BATCH % rb"models/gemini\/g", BATCH % b"models/g"),
        ("/model/bedrock%2Fx/converse", b'{"messages":[],"model":"y"}', b'{"messages":[],"model":"y"}'),
    ],
)
def test_a_model_in_the_path_is_renamed_there(target: str, body: bytes, expected: bytes) -> None:
    """And in the body only where that names it for the provider."""
    assert planned(target, body, CUSTOM).request.body == expected


def test_a_model_that_cannot_be_renamed_is_told() -> None:
    """The provider would be asked for one that it does not know."""
    error = refusal("/openai/deployments/local/m/chat/completions", b'{"messages":[]}', CUSTOM)
    assert (error.status, "renamed to 'm'" in error.message) == (400, True)


@pytest.mark.parametrize(
    ("target", "body", "sent"),
    [
        ("/v1/chat/completions", {"model": "anthropic/c", "messages": MESSAGES}, "/v1/messages"),
        ("/v1/messages", {"model": "openai/g", "max_tokens": 1, "messages": MESSAGES}, "/v1/chat/completions"),
        ("/v1/chat/completions", {"model": "openai/g", "input": "hi"}, "/v1/responses"),
        ("/v1/messages", {"model": "bedrock/a:0", "max_tokens": 1, "messages": MESSAGES}, "/model/a%3A0/converse"),
        (
            "/v1/messages",
            {"model": "gemini/g", "max_tokens": 1, "stream": True, "messages": MESSAGES},
            "/v1beta/models/g:streamGenerateContent?alt=sse",
        ),
        ("/v1/responses", {"model": "anthropic/c", "input": "hi"}, "/v1/messages"),
        ("/v1beta/models/groq/l:generateContent", CONTENTS, "/openai/v1/chat/completions"),
    ],
)
def test_a_translated_request_goes_to_the_providers_own_place(target: str, body: dict[str, Any], sent: str) -> None:
    """With the model's name as the provider knows it."""
    made = planned(target, json.dumps(body).encode())
    assert (made.request.target.decode(), made.route.target) == (sent, sent)
    assert made.translation is not None
    told = json.loads(made.request.body)
    assert told.get("model") == (None if "models/" in sent or "/model/" in sent else made.route.rename)


@pytest.mark.parametrize(
    ("target", "body", "decoded"),
    [
        ("/anthropic/v1/chat/completions", b"no JSON", b"no JSON"),
        ("/anthropic/v1/chat/completions", b"[]", b"[]"),
        ("/anthropic/v1/chat/completions", b'{"model":"m"}', b'{"model":"m"}'),
        ("/anthropic/v1/chat/completions", b'{"model":"m","messages":[]}', b'{"model":"m","messages":[]}'),
        ("/anthropic/v1/chat/completions", b'{"model":"m","messages":"hi"}', b'{"model":"m","messages":"hi"}'),
        ("/anthropic/v1/chat/completions", UNREADABLE, None),
        ("/anthropic/v1/chat/completions", b"", None),
    ],
)
def test_what_cannot_be_read_cannot_be_translated(target: str, body: bytes, decoded: bytes | None) -> None:
    """The error names the provider, and repeats nothing of the body."""
    error = refusal(target, body, decoded=decoded)
    assert (error.status, "'anthropic'" in error.message) == (400, True)
    assert "translated" in error.message


@pytest.mark.parametrize(
    ("toml", "deadlines"),
    [
        ("", (10.0, 600.0, 300.0, 600.0, "$.default_timeout")),
        ("default_timeout = 5.0", (5.0, 5.0, 300.0, 5.0, "$.default_timeout")),
        ("[timeouts]\nconnect = 1.0\nfirst_byte = 2.0\nidle = 3.0", (1.0, 2.0, 3.0, 600.0, "$.default_timeout")),
        ("[timeouts]\nfirst_byte = 900.0", (10.0, 600.0, 300.0, 600.0, "$.default_timeout")),
        ("[providers.openai]\ntimeout = 7.0", (7.0, 7.0, 300.0, 7.0, "$.providers.openai.timeout")),
    ],
)
def test_deadlines_are_bounded_by_the_whole(toml: str, deadlines: tuple[float, float, float, float, str]) -> None:
    """A provider's own goes before the default, and the setting is known by name."""
    for body in (CHAT, b'{"model":"m","input":"hi"}'):
        made = planned("/v1/chat/completions", body, toml).deadlines
        assert (made.connect, made.first_byte, made.idle, made.total, made.total_setting) == deadlines
