"""Errors of the gateway's own at each front door, over real sockets."""

from pathlib import Path

import pytest

from tests.support.client_errors import error_in
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.upstream import CLOSE, Upstream, stream

ENDPOINTS = {
    "openai": "openai-chat",
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
    "ollama": "ollama",
    "aws-bedrock": "bedrock-converse",
    "azure-openai": "azure-openai",
}
DOORS = {
    "openai": ("/v1/chat/completions", "/openai/v1/nowhere/x"),
    "anthropic": ("/v1/messages", "/v1/messages/batches"),
    "gemini": ("/v1beta/models/g:streamGenerateContent?alt=sse", "/v1beta/files"),
    "ollama": ("/api/chat", "/api/tags"),
    "aws-bedrock": ("/model/x:0/converse", "/model/x/invoke"),
    "azure-openai": ("/openai/deployments/d/chat/completions?api-version=1", "/openai/deployments/d/images/edits"),
}
NOBODY = "".join(
    f'[providers.{name}]\nbase_url = "http://127.0.0.1:9"\n' + ("api_key = 'k'\n" if name == "aws-bedrock" else "")
    for name in ("openai", "anthropic", "gemini", "ollama", "aws-bedrock", "azure-openai")
)


@pytest.mark.parametrize(("family", "path"), [(name, path) for name, paths in DOORS.items() for path in paths])
async def test_a_provider_out_of_reach_is_told_at_every_front_door(tmp_path: Path, family, path):
    """With the status 502, the provider and its setting; whether the path is read or only relayed."""
    toml = NOBODY + "[retry]\nmax_tries = 1\n"
    async with InProcess(tmp_path / "data", toml) as gateway:
        answer = await exchange(gateway.url, request("POST", path, [("Content-Type", "application/json")], b"{}"))
        assert answer.status == 502
        said = error_in(ENDPOINTS[family], answer.body)
        assert f"$.providers.{family}.base_url" in str(said["message"])
        assert gateway.exchange()["outcome"] == "sending"
        if family == "aws-bedrock":
            assert answer.values(b"x-amzn-errortype") == [b"ServiceUnavailableException"]


BEGUN = {
    "openai": ("text/event-stream", b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'),
    "anthropic": (
        "text/event-stream",
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n',
    ),
    "gemini": ("text/event-stream", b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n'),
    "ollama": ("application/x-ndjson", b'{"model":"m","message":{"content":"a"}}\n'),
}


async def test_an_array_of_googles_is_not_added_to(upstream: Upstream, tmp_path: Path):
    """A stream that comes as one JSON value has no place for an event: it just ends."""
    begun = b'[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n'
    upstream.answers(stream([begun], content_type="application/json", end=CLOSE))
    toml = f'[providers.gemini]\nbase_url = "{upstream.url}"\n'
    async with InProcess(tmp_path / "data", toml) as gateway:
        path = "/v1beta/models/g:streamGenerateContent"
        answer = await exchange(gateway.url, request("POST", path, [], b'{"contents":[]}'))
        assert (answer.body, answer.whole) == (begun, False)


@pytest.mark.parametrize("family", BEGUN)
async def test_a_stream_that_breaks_off_says_so_in_its_own_framing(upstream: Upstream, tmp_path: Path, family):
    """The client's reader finds an event of ours after the provider's last one, and the end is no good one."""
    kind, begun = BEGUN[family]
    upstream.answers(stream([begun], content_type=kind, end=CLOSE))
    toml = f'[providers.{family}]\nbase_url = "{upstream.url}"\n'
    body = b'{"model":"m","stream":true,"messages":[],"contents":[]}'
    async with InProcess(tmp_path / "data", toml) as gateway:
        path = DOORS[family][0]
        answer = await exchange(gateway.url, request("POST", path, [("Content-Type", "application/json")], body))
        assert (answer.status, answer.whole) == (200, False)
        assert answer.body.startswith(begun)
        told = answer.body.removeprefix(begun).removeprefix(b"event: error\n").removeprefix(b"data: ")
        assert "$.providers" in str(error_in(ENDPOINTS[family], told)["message"])
        assert gateway.attempt()["outcome"] == "upstream_abort"
