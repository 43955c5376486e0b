"""Fixtures read, and parts of the expected responses."""

from collections.abc import Callable
from typing import Any

from gateway.dialects.conversation import (
    Message,
    Part,
    Usage,
)

Read = Callable[[str], bytes]
MODEL = "gpt-5.4-2026-03-05"
CREATED = 1790000010
USAGE = Usage(
    input_tokens=328,
    output_tokens=52,
    total_tokens=380,
    cache_read_tokens=256,
    cache_write_tokens=10,
    reasoning_tokens=12,
)


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"openai-responses": fields}


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)
