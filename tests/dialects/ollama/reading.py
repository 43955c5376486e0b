"""Fixtures read, and parts of the expected responses."""

import json
from collections.abc import Callable
from typing import Any

from gateway.dialects.conversation import (
    ChatResponse,
    Message,
    Part,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT

Read = Callable[[str], bytes]


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def spent(input_tokens: int, output_tokens: int) -> Usage:
    """Make a usage."""
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens)


def durations(total: int, load: int, prompt: int, evaluation: int) -> dict[str, int]:
    """Make what only Ollama tells."""
    return {
        "total_duration": total,
        "load_duration": load,
        "prompt_eval_duration": prompt,
        "eval_duration": evaluation,
    }


def whole(**line: Any) -> ChatResponse:
    """Read a whole response."""
    return OLLAMA_CHAT.read_response(json.dumps(line).encode())
