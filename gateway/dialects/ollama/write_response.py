"""The conversation form as Ollama's responses: whole, as lines of a stream, and as errors."""

from datetime import UTC, datetime

import msgspec

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Extra,
    Message,
    Text,
    Usage,
)
from gateway.dialects.ollama.read_parts import NAME, Said
from gateway.dialects.ollama.write_parts import placed, written, written_logprobs
from gateway.dialects.shared.unsupported import Dropped
from gateway.errors import Kind
from gateway.semconv import TEXT_COMPLETION

_UNSAID_USAGE = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body: a message is all it has, and the status is the response's."""
    return msgspec.json.encode({"error": message})


def response(answered: ChatResponse, asked: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response to what was asked: a chat's, or that of a completed prompt."""
    if not answered.output_messages and (answered.error_message or answered.error_type):
        return msgspec.json.encode({"error": answered.error_message or answered.error_type}), []
    dropped = Dropped()
    if answered.conversation_id is not None:
        dropped.add("conversation")
    for n in range(1, len(answered.output_messages)):
        dropped.add(f"choices[{n}]")
    message = next(iter(answered.output_messages), Message(role="assistant", parts=[]))
    said = written(placed(message.parts, "choices[0].parts"), dropped)
    likely = [token for part in message.parts if isinstance(part, Text) for token in part.logprobs]
    head = _head(answered.model or asked.model, now if answered.created is None else answered.created)
    line = {
        **head,
        **_told(said, asked.operation, dropped),
        **({"logprobs": written_logprobs(likely)} if likely else {}),
        **_end(message.finish_reason, answered.usage, [answered.extra, message.extra], dropped),
    }
    return msgspec.json.encode(line), dropped.names


def _head(model: str | None, at: float) -> Said:
    return {"model": model or "", "created_at": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}


def _told(said: Said, operation: str, dropped: Dropped) -> Said:
    """Return a message's fields where the response to this operation has them."""
    if said.pop("images", None):  # Ollama's own package for Python raises at an image in a response
        dropped.add("choices[0]: images")
    if operation == TEXT_COMPLETION:
        return {"response": said.pop("content"), **said}
    return {"message": {"role": "assistant", **said}}


def _end(reason: str | None, usage: Usage | None, extras: list[Extra], dropped: Dropped) -> Said:
    """Write what only the last line has."""
    end: Said = {"done": True, "done_reason": "stop" if reason in {None, "tool_calls"} else reason}
    if usage is not None and usage.input_tokens is not None:
        end["prompt_eval_count"] = usage.input_tokens
    if usage is not None and usage.output_tokens is not None:
        end["eval_count"] = usage.output_tokens
    for part in _UNSAID_USAGE:
        if usage is not None and getattr(usage, part):
            dropped.add(f"usage.{part}")
    for extra in extras:
        end |= extra.get(NAME, {})
        dropped.foreign(extra, NAME)
    return end
