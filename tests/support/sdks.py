"""What the tests of the SDKs share: answers in the providers' shapes, and what must hold of every recorded exchange."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.semconv import COUNT_TOKENS
from tests.support.gateways import InProcess
from tests.support.upstream import Asked, Step, events, reply, stream

Row = dict[str, Any]

FOREVER = 600.0  # seconds: longer than any test lasts
TRIES = 4  # the gateway's default

# Every test client's key begins like this, and no journal may have it.
KEY = "sk-planted-4711"

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-5.4-mini-2026-03-17",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Good day.", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
    },
    "service_tier": "default",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-20260801",
    "content": [{"type": "text", "text": "Good day."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 9,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "service_tier": "standard",
    },
}


def telling_usage_when_asked(data: bytes) -> Callable[[Asked], list[Step]]:
    """Stream `data`, whose last but one event tells the usage, without that event where nobody asked for it."""

    def answer(asked: Asked) -> list[Step]:
        *pieces, usage, done = events(data)
        wanted = (asked.json.get("stream_options") or {}).get("include_usage")
        return stream([*pieces, *([usage] if wanted else []), done])

    return answer


def by_path(bodies: Mapping[str, bytes | dict[str, Any]]) -> Callable[[Asked], list[Step]]:
    """Answer by method and target; bytes are no JSON."""

    def answer(asked: Asked) -> list[Step]:
        body = bodies[f"{asked.method} {asked.target}"]
        return reply(body, content_type="audio/mpeg" if isinstance(body, bytes) else "application/json")

    return answer


def comparable(asked: Asked) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Return a request without what differs from connection to connection: its host, and the multipart boundary."""
    boundary = re.search(r"boundary=(\S+)", asked.header("Content-Type") or "")
    word = boundary.group(1) if boundary else "no boundary"
    named = [(name.lower(), value.replace(word, "BOUNDARY")) for name, value in asked.headers]
    headers = sorted(each for each in named if each[0] not in {"host", "connection"})
    return asked.method, asked.target, headers, asked.body.replace(word.encode(), b"BOUNDARY")


def recorded(gateway: InProcess, exchange: int = 0) -> tuple[Row, list[Row]]:
    """Return the n-th exchange that ended and its attempts, oldest first, having checked how they belong together."""
    root = gateway.rows("SERVER")[exchange]
    attempts = [row for row in gateway.rows("CLIENT") if row["parent_span_id"] == root["span_id"]]
    assert {row["trace_id"] for row in attempts} <= {root["trace_id"]}
    assert [row["attempt"] for row in attempts] == list(range(root["attempts"]))
    assert [row.get("resend_count") for row in attempts] == [None, *range(1, len(attempts))][: len(attempts)]
    assert root["retries"] == max(0, len(attempts) - 1)
    assert not [name for name in root["attributes"] if name.startswith("gen_ai.")]
    assert not {"operation", "finish_reasons", "input_messages", "output_messages", "response_id"} & root.keys()
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        known = [row[name] for row in attempts if name in row and row.get("operation") != COUNT_TOKENS]
        assert root.get(name) == (sum(known) if known else None)
    assert KEY not in repr(gateway.rows())
    return root, attempts


def recorded_failure(gateway: InProcess, status: int, outcome: str, tries: int) -> str:
    """Require that the only exchange failed with a status in each of its attempts; return its trace id."""
    root, attempts = recorded(gateway)
    assert facts(root, "outcome", "http_status", "error_type", "attempts", "retries", "rate_limited") == (
        outcome, status, str(status), tries, tries - 1, status == 429,
    )  # fmt: skip
    for attempt in attempts:
        assert facts(attempt, "outcome", "http_status", "error_type") == (outcome, status, str(status))
        assert facts(attempt, "usage_source", "total_tokens") == (None, None)
        assert said(attempt, "input") == [("user", None, [text("Hello")])]
        assert "No é." in attempt["error"]
    return str(root["trace_id"])


def facts(row: Row, *names: str) -> tuple[Any, ...]:
    """Return some columns of a row, None for those it has not."""
    return tuple(row.get(name) for name in names)


def said(row: Row, direction: str = "output") -> list[tuple[str, str | None, list[Row]]]:
    """Return a row's messages as (role, finish reason, parts), the parts without what only a translation needs."""
    return [
        (each["role"], each.get("finish_reason"), [plain(part) for part in each["parts"]])
        for each in row[f"{direction}_messages"]
    ]


def parts_of(row: Row) -> list[Row]:
    """Return the parts of all output messages."""
    return [part for _, _, parts in said(row) for part in parts]


def plain(part: Row) -> Row:
    """Return a part as the conventions know it."""
    return {name: value for name, value in part.items() if name not in {"extra", "custom"}}


def text(content: str) -> Row:
    """Return a text part."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Row:
    """Return a reasoning part."""
    return {"type": "reasoning", "content": content}


def tool_call(call_id: str, name: str, arguments: Any) -> Row:
    """Return the part that calls a tool."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}
