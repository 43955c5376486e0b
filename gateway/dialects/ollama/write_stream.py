"""A streamed response as Ollama's lines: one for each piece of content."""

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    Extra,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.ollama.read_parts import Json
from gateway.dialects.ollama.write_parts import written, written_logprobs
from gateway.dialects.ollama.write_response import _end, _head, _placed_message
from gateway.dialects.shared.usage import merged_usage
from gateway.dialects.shared.writer import StreamWriter


class OllamaStreamWriter(StreamWriter):
    """Writes one streamed response, a line for each piece of content. A tool call is written once it is whole."""

    content_type = "application/x-ndjson"

    def __init__(self, request: ChatRequest, now: float) -> None:
        super().__init__()
        self._operation = request.operation
        self._model = request.model
        self._now = now
        self._head = _head(request.model, now)
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
            case events.UsageUpdated():
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
        """Write the rest of a part, which has not been written while it grew."""
        message = written([(f"choices[0].parts[{index}]", part)], self._dropped, calls_before=self._calls)
        self._calls += isinstance(part, ToolCall)
        if isinstance(part, Text) and part.logprobs:
            return self._line({"content": ""}, {"done": False, "logprobs": written_logprobs(part.logprobs)})
        if isinstance(part, Text | Reasoning | Refusal):
            return b""
        data = self._line(message)
        return b"" if "images" in message or message == {"content": ""} else data

    def _end(self) -> bytes:
        return self._line({"content": ""}, _end(self._reason, self._usage, self._extras, self._dropped))

    def _line(self, message: Json, more: Json | None = None) -> bytes:
        data = _placed_message(dict(message), self._operation, self._dropped)
        return msgspec.json.encode({**self._head, **data, **(more or {"done": False})}) + b"\n"
