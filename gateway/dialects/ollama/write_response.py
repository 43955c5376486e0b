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
from gateway.dialects.ollama.read_parts import NAME, Json
from gateway.dialects.ollama.write_parts import placed, written, written_logprobs
from gateway.dialects.shared.writer import Dropped
from gateway.errors import Kind
from gateway.semconv import TEXT_COMPLETION

_UNSAID_USAGE = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body: a message is all it has, and the status is the response's."""
    return msgspec.json.encode({"error": message})


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response to a request: a chat's, or that of a completed prompt."""
    if not response.output_messages and (response.error_message or response.error_type):
        return msgspec.json.encode({"error": response.error_message or response.error_type}), []
    dropped = Dropped()
    if response.conversation_id is not None:
        dropped.add("conversation")
    for n in range(1, len(response.output_messages)):
        dropped.add(f"choices[{n}]")
    message = next(iter(response.output_messages), Message(role="assistant", parts=[]))
    members = written(placed(message.parts, "choices[0].parts"), dropped)
    likely = [token for part in message.parts if isinstance(part, Text) for token in part.logprobs]
    head = _head(response.model or request.model, now if response.created is None else response.created)
    line = {
        **head,
        **_placed_message(members, request.operation, dropped),
        **({"logprobs": written_logprobs(likely)} if likely else {}),
        **_end(message.finish_reason, response.usage, [response.extra, message.extra], dropped),
    }
    return msgspec.json.encode(line), dropped.names


def _head(model: str | None, at: float) -> Json:
    return {"model": model or "", "created_at": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}


def _placed_message(message: Json, operation: str, dropped: Dropped) -> Json:
    """Return a message's fields in their place in a response to this operation."""
    if message.pop("images", None):  # Ollama's own package for Python raises at an image in a response
        dropped.add("choices[0]: images")
    if operation == TEXT_COMPLETION:
        return {"response": message.pop("content"), **message}
    return {"message": {"role": "assistant", **message}}


def _end(reason: str | None, usage: Usage | None, extras: list[Extra], dropped: Dropped) -> Json:
    """Write the fields that only the last line has."""
    end: Json = {"done": True, "done_reason": "stop" if reason in {None, "tool_calls"} else reason}
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
