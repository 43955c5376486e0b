"""Bytes to the client as they come, and the spans' ends before the last of them."""

import aiohttp

from tests.running import InProcess
from tests.upstream import Upstream, events, stream

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
CHAT |= {"stream_options": {"include_usage": True}}


async def test_a_stream_is_relayed_and_recorded(upstream: Upstream, gateway: InProcess, read):
    """What the provider streamed arrives byte for byte, and is one exchange with one attempt."""
    data = read("chat_text.sse")
    upstream.answers(stream(events(data)))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as response,
    ):
        assert await response.read() == data
    assert gateway.exchange()["outcome"] == "ok"
    assert gateway.attempt()["usage_source"] == "reported"
    assert gateway.ask("SELECT outcome, attempts FROM exchanges") == [("ok", 1)]
