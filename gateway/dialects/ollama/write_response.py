"""The conversation form as Ollama's responses: whole, as lines of a stream, and as errors."""

from datetime import UTC, datetime

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Extra,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.ollama.parts import NAME, Said, placed, written, written_logprobs
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.shared.usage import merged_usage
from gateway.dialects.shared.writer import StreamWriter
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


class OllamaStreamWriter(StreamWriter):
    """Writes one streamed response, a line for each piece of content. A tool call is written once it is whole."""

    content_type = "application/x-ndjson"

    def __init__(self, asked: ChatRequest, now: float) -> None:
        super().__init__()
        self._operation = asked.operation
        self._model = asked.model
        self._now = now
        self._head = _head(asked.model, now)
        self._growing: dict[int, type[Part]] = {}
        self._calls = 0
        self._usage: Usage | None = None
        self._reason: str | None = None
        self._extras: list[Extra] = []

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.PartGrown(choice=0):
                return self._grow(event.index, event.text)
            case events.PartBegun(choice=0):
                self._growing[event.index] = type(event.part)
            case events.PartDone(choice=0):
                return self._done(event.index, event.part)
            case events.PartBegun() | events.PartGrown() | events.PartDone():
                self._dropped.add(f"choices[{event.choice}]")
            case events.Begun():
                self._begin(event)
            case events.ChoiceDone(choice=0):
                self._reason = event.finish_reason
                self._extras.append(event.extra)
            case events.UsageTold():
                self._usage = merged_usage(self._usage, event.usage)
            case events.Broken():
                return msgspec.json.encode({"error": event.message or event.type or "the stream broke"}) + b"\n"
            case events.Ended():
                return self._end()
        return b""

    def _begin(self, begun: events.Begun) -> None:
        self._head = _head(begun.model or self._model, self._now if begun.created is None else begun.created)
        self._usage = begun.usage
        self._extras.append(begun.extra)

    def _grow(self, index: int, piece: str) -> bytes:
        kind = self._growing.get(index)
        if kind is Reasoning:
            return self._line({"content": "", "thinking": piece})
        return self._line({"content": piece}) if kind in {Text, Refusal} else b""

    def _done(self, index: int, part: Part) -> bytes:
        """Write what of a part has not been written while it grew."""
        said = written([(f"choices[0].parts[{index}]", part)], self._dropped, calls_before=self._calls)
        self._calls += isinstance(part, ToolCall)
        if isinstance(part, Text) and part.logprobs:
            return self._line({"content": ""}, {"done": False, "logprobs": written_logprobs(part.logprobs)})
        if isinstance(part, Text | Reasoning | Refusal):
            return b""
        told = self._line(said)
        return b"" if "images" in said or said == {"content": ""} else told

    def _end(self) -> bytes:
        return self._line({"content": ""}, _end(self._reason, self._usage, self._extras, self._dropped))

    def _line(self, said: Said, more: Said | None = None) -> bytes:
        told = _told(dict(said), self._operation, self._dropped)
        return msgspec.json.encode({**self._head, **told, **(more or {"done": False})}) + b"\n"
