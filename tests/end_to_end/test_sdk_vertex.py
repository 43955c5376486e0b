"""Anthropic's Python SDK for Vertex works through the gateway, and what it did is in the store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic

from tests.support.gateways import InProcess
from tests.support.sdks import HELLO, MESSAGE
from tests.support.upstream import Upstream, events, reply, stream

CLAUDE = "/v1/projects/p/locations/eu/publishers/anthropic/models"
ALIAS = '[aliases.smart]\ncandidates = ["vertex/claude-opus-5"]\n'


async def test_claude_on_vertex(upstream: Upstream, read: Callable[[str], bytes], tmp_path: Path) -> None:
    """Whole, streamed by an alias, and counted: the client's paths and its token, and Claude's messages in the rows."""
    pieces = events(read("messages_text.sse"))
    upstream.answers(reply(MESSAGE), stream(pieces), reply({"input_tokens": 11}))
    toml = f'[providers.vertex]\nbase_url = "{upstream.url}"\n[retry]\nmax_tries = 1\n{ALIAS}'
    async with InProcess(tmp_path / "data", toml, {"GOOGLE_CLOUD_PROJECT": "own"}) as gateway:
        async with anthropic.AsyncAnthropicVertex(
            base_url=f"{gateway.url}/v1", access_token="ya29.client", project_id="p", region="eu"
        ) as client:
            asked: Any = {"max_tokens": 9, "messages": HELLO}
            whole = await client.messages.create(model="claude-sonnet-5@001", **asked)
            assert whole.to_dict() == MESSAGE
            told = [each async for each in await client.messages.create(model="smart", stream=True, **asked)]
            assert told[-1].type == "message_stop"
            counted = await client.post(
                "/v1/messages/count_tokens", body={"model": "claude-sonnet-5@001", "messages": HELLO}, cast_to=object
            )
            assert counted == {"input_tokens": 11}
        assert [each.target for each in upstream.asked] == [
            f"{CLAUDE}/claude-sonnet-5@001:rawPredict",
            f"{CLAUDE}/claude-opus-5:streamRawPredict",
            f"{CLAUDE}/count-tokens:rawPredict",
        ]
        assert [each.header("authorization") for each in upstream.asked] == ["Bearer ya29.client"] * 3
        first, second, third = gateway.rows("CLIENT")
        assert {(row["dialect"], row["provider"], row["outcome"]) for row in (first, second, third)} == {
            ("anthropic-messages", "vertex", "ok")
        }
        assert [row["request_model"] for row in (first, second, third)] == [
            "claude-sonnet-5@001", "claude-opus-5", "claude-sonnet-5@001",
        ]  # fmt: skip
        assert (first["operation"], first["input_tokens"], first["output_tokens"]) == ("chat", 9 + 5 + 100, 7)
        assert (second["stream"], second["finish_reasons"], second["output_tokens"] is not None) == (
            True,
            ["stop"],
            True,
        )
        assert (third["operation"], third["input_tokens"]) == ("count_tokens", 11)
        assert "Hello" in str(third["input_messages"])
        assert "input_tokens" not in gateway.rows("SERVER")[2]
        assert gateway.ask("SELECT count(*) FROM costs") == [(2,)]
