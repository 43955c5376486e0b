"""What providers report of tokens and costs, from their bytes to the columns of the store."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import duckdb

from gateway.store.compaction import modernize
from gateway.store.segments import seal
from gateway.store.views import tables
from tests.support.gateways import InProcess
from tests.support.store import exchange as lines_of_an_exchange
from tests.support.store import journal, over
from tests.support.upstream import Upstream, reply, stream

COLUMNS = (
    "usage_source", "input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens",
    "audio_input_tokens", "audio_output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "web_search_requests", "server_tool_requests", "service_tier", "provider_cost_usd",
)  # fmt: skip
CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {"model": "claude-x", "max_tokens": 9, "messages": CHAT["messages"]}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}

AUDIO = {
    "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "cost": 0.00371,
    "prompt_tokens_details": {"audio_tokens": 13, "cached_tokens": 0},
    "completion_tokens_details": {"audio_tokens": 0},
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 3, "cache_creation_input_tokens": 900,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 900},
    "service_tier": "priority",
}  # fmt: skip
SEARCHED = {"output_tokens": 9, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}
GROQ = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "total_time": 0.5}


def sse(*events: dict[str, Any]) -> list[bytes]:
    """Return events of a stream, named by their types as Anthropic's are."""
    return [b"event: %b\ndata: %b\n\n" % (e.get("type", "x").encode(), json.dumps(e).encode()) for e in events]


async def test_reported_facts_are_columns_of_attempts(upstream: Upstream, gateway: InProcess):
    """Whole and streamed, with the usage object as it was; without usage all is NULL but an estimate of a stream's."""
    whole = {"id": "c", "model": "m", "choices": [CHOICE]}
    upstream.answers(
        reply({**whole, "usage": AUDIO, "service_tier": "flex"}),
        stream(
            sse(
                {"type": "message_start", "message": {"id": "m", "usage": ANTHROPIC}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": SEARCHED},
                {"type": "message_stop"},
            )
        ),
        stream(
            [
                b'data: {"choices":[{"index":0,"delta":{"content":"ok"}}],"x_groq":{"id":"r"}}\n\n',
                b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":%b}}\n\n'
                % json.dumps(GROQ).encode(),
                b"data: [DONE]\n\n",
            ]
        ),
        reply(whole),
    )
    asked = [
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGES | {"stream": True}),
        ("/v1/chat/completions", CHAT | {"stream": True}),
        ("/v1/chat/completions", CHAT),
    ]
    async with aiohttp.ClientSession() as session:
        for path, body in asked:
            async with session.post(gateway.url + path, json=body) as response:
                await response.read()
    reported = "attributes ->> '$.\"gateway.usage.reported\"'"
    columns = ", ".join((*COLUMNS, reported))
    rows = gateway.ask(f"SELECT {columns} FROM attempts ORDER BY started_at")  # noqa: S608
    objects = [None if row[-1] is None else json.loads(row[-1]) for row in rows]
    assert objects == [AUDIO, ANTHROPIC | SEARCHED, GROQ, None]
    assert [row[:-1] for row in rows] == [
        ("reported", 20, 9, 29, 0, None, 13, 0, None, None, None, None, "flex", 0.00371),
        ("reported", 903, 9, 912, None, 900, None, None, 0, 900, 2, 3, "priority", None),
        ("reported", 20, 9, 29, None, None, None, None, None, None, None, None, None, None),
        (None,) * len(COLUMNS),
    ]
    totals = gateway.ask("SELECT input_tokens, output_tokens, total_tokens FROM exchanges ORDER BY started_at")
    assert totals == [row[1:4] for row in rows]


def test_a_segment_without_the_columns_has_nulls(tmp_path: Path):
    """A segment of an older version is rewritten with them, and its other values stay."""
    segment = tmp_path / "w0-1.duckdb"
    seal(journal(tmp_path, lines_of_an_exchange(1, input_tokens=5)), segment)
    newer = [name for name in COLUMNS[6:] if name in tables()["spans"]]
    with duckdb.connect(str(segment)) as con:
        for name in newer:
            con.execute(f"ALTER TABLE spans DROP COLUMN {name}")
    assert modernize(segment)
    _, rows = over(f"SELECT input_tokens, {', '.join(newer)} FROM attempts", segments=[segment])  # noqa: S608
    assert rows == [(5, *(None for _ in newer))]
