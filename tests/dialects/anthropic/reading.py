"""Fixtures read, and parts of the expected responses."""

from collections.abc import Callable
from typing import Any

from gateway.dialects.conversation import (
    Message,
    Part,
)

Read = Callable[[str], bytes]


def own(**fields: Any) -> dict[str, dict[str, Any]]:
    """Make an `extra`."""
    return {"anthropic-messages": fields}


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)
