"""Token counts for Anthropic's clients of providers that cannot be asked."""

import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply

PATH = "/v1/messages/count_tokens"
ASKED: dict[str, Any] = {
    "model": "gpt-5",
    "system": "s" * 40,
    "messages": [{"role": "user", "content": "u" * 400}],
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
}
JSON = ("Content-Type", "application/json")


async def count(gateway: InProcess, body: Any, path: str = PATH) -> Any:
    """Ask for a count."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await exchange(gateway.url, request("POST", path, [JSON], data))


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (PATH, "gpt-5"),
        (f"{PATH}?beta=true", "openai/gpt-5"),
        (f"{PATH}/", "local/m"),
        ("/messages/count_tokens", "groq/x"),
        (f"/v1{PATH}", "gemini-3-flash"),
        (f"/local{PATH}", "anything"),
        (f"/openai{PATH}", "claude-x"),
    ],
)
async def test_a_count_is_estimated_where_nobody_can_be_asked(upstream: Upstream, tmp_path: Path, path, model):
    """By a model's name or by a mount; nothing is sent, and the head says that it is an estimate."""
    toml = f'[providers.local]\nbase_url = "{upstream.url}"\n'
    async with InProcess(tmp_path / "data", toml) as gateway:
        answer = await count(gateway, ASKED | {"model": model}, path)
        assert (answer.status, answer.values(b"x-gateway-usage")) == (200, [b"estimated"])
        assert set(json.loads(answer.body)) == {"input_tokens"}
        assert 110 <= json.loads(answer.body)["input_tokens"] <= 150
        assert upstream.asked == []
        row = gateway.exchange()
        assert (row["outcome"], row["http_status"], row["attempts"]) == ("ok", 200, 0)


async def test_a_provider_that_counts_is_asked(upstream: Upstream, tmp_path: Path):
    """Anthropic's own answer is the client's, byte for byte, and so is another's that speaks the dialect."""
    upstream.answers(reply(b'{ "input_tokens": 7 }'))
    toml = to(upstream.url, f'[providers.like]\nbase_url = "{upstream.url}"\ndialect = "anthropic-messages"\n')
    async with InProcess(tmp_path / "data", toml) as gateway:
        for model in ("claude-x", "gpt-5", "like/x"):  # the address was set: it knows its own models
            answer = await count(gateway, ASKED | {"model": model})
            assert (answer.body, answer.values(b"x-gateway-usage")) == (b'{ "input_tokens": 7 }', [])
    assert [asked.target for asked in upstream.asked] == [PATH] * 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        {"model": "openai/gpt-5"},
        {"model": "openai/gpt-5", "messages": []},
        {
            "model": "openai/gpt-5",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
                    ],
                }
            ],
        },
    ],
)
async def test_what_cannot_be_estimated_is_said_in_the_clients_words(tmp_path: Path, body):
    """No number is better than one that is made up."""
    async with InProcess(tmp_path / "data") as gateway:
        answer = await count(gateway, body, f"/openai{PATH}")
        error = json.loads(answer.body)
        assert (answer.status, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
        assert "cannot be estimated" in error["error"]["message"]
        assert gateway.exchange()["outcome"] == "bad_input"


async def test_the_sdk_gets_a_count(tmp_path: Path):
    """Anthropic's own client reads the estimate as it would the number."""
    async with (
        InProcess(tmp_path / "data") as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="k", max_retries=0) as client,
    ):
        counted = await client.messages.count_tokens(model="gpt-5", messages=[{"role": "user", "content": "u" * 400}])
        assert counted.input_tokens == 104
