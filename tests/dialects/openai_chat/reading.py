"""Fixtures read, and parts of the expected responses."""

import json
from collections.abc import Callable
from typing import Any

from gateway.dialects.conversation import (
    ChatResponse,
    Message,
    Part,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS

Read = Callable[[str], bytes]


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def streamed(data: bytes) -> ChatResponse:
    """Read a stream that has no event that cannot be read."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(data)
    assert reader.unread == 0
    return reader.response()


def chunk(**fields: Any) -> bytes:
    """Make an event."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    """Make an event that adds to the first choice."""
    return chunk(choices=[{"index": 0, "delta": fields}])
